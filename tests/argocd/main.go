// Command argocd says what Argo CD makes of objects by the health checks in its settings: `argocd SETTINGS` reads an
// object as JSON from each line, and prints for each a line with its health. It is test equipment and no part of the
// product.
//
// All of it is Argo CD's own: how its controller reads the ConfigMap argocd-cm, how it finds a check there, and how it
// runs it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "argocd:", err)
		os.Exit(1)
	}
}

func run(arguments []string, in io.Reader, out io.Writer) error {
	if len(arguments) != 1 {
		return errors.New("usage: argocd SETTINGS")
	}
	logrus.SetLevel(logrus.WarnLevel)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	checks, err := read(ctx, arguments[0])
	if err != nil {
		return fmt.Errorf("%s: %w", arguments[0], err)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		said, err := judge(lines.Bytes(), checks)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		text, err := json.Marshal(said)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(text))
	}
	return lines.Err()
}

// read reads the checks of a ConfigMap: it is all that there is in a cluster of this process.
func read(ctx context.Context, path string) (lua.ResourceHealthOverrides, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	given := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict(text, given); err != nil {
		return nil, err
	}
	manager := settings.NewSettingsManager(ctx, fake.NewClientset(given), given.Namespace)
	return manager.GetResourceOverrides()
}

// judge says how healthy an object is.
func judge(line []byte, checks lua.ResourceHealthOverrides) (*health.HealthStatus, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(line); err != nil {
		return nil, err
	}
	said, err := health.GetResourceHealth(object, checks)
	if err == nil && said == nil {
		err = errors.New("there is no check")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.GroupVersionKind(), err)
	}
	return said, nil
}
