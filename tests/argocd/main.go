// Command argocd says what Argo CD makes of objects by the health checks in its settings: `argocd SETTINGS` reads an
// object as JSON from each line, and prints for each a line with its health. It is test equipment and no part of the
// product.
//
// It does what Argo CD v3.6.1 does in `util/lua` and in `gitops-engine/pkg/health`, with the same Lua (gopher-lua v1.1.2)
// and no more of its libraries: a check of a ConfigMap runs without string and math. That package itself is not used:
// it brings 1,431 others, five minutes of a processor and more, and this is a second.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// verdict is what a check returns.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

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
	checks, err := read(arguments[0])
	if err != nil {
		return err
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

// read reads the checks of a ConfigMap, whose keys are split as Argo CD does: resource.customizations.health.GROUP_KIND.
func read(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	settings := struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}{}
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if settings.Kind != "ConfigMap" {
		return nil, fmt.Errorf("%s is no ConfigMap", path)
	}
	checks := map[string]string{}
	for key, value := range settings.Data {
		parts := strings.SplitN(key, ".", 4)
		if len(parts) != 4 || strings.Join(parts[:3], ".") != "resource.customizations.health" {
			return nil, fmt.Errorf("%s: %s is no health check", path, key)
		}
		names := strings.Split(parts[3], "_")
		if len(names) != 2 {
			return nil, fmt.Errorf("%s: %s names no group and kind", path, key)
		}
		checks[names[0]+"/"+names[1]] = value
	}
	return checks, nil
}

// judge says how healthy an object is.
func judge(line []byte, checks map[string]string) (*verdict, error) {
	object := map[string]any{}
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, fmt.Errorf("it is no object: %w", err)
	}
	// No check is asked about what is being deleted.
	if metadata, ok := object["metadata"].(map[string]any); ok && metadata["deletionTimestamp"] != nil {
		return &verdict{"Progressing", "Pending deletion"}, nil
	}
	version, _ := object["apiVersion"].(string)
	group, _, _ := strings.Cut(version, "/")
	kind := fmt.Sprintf("%s/%v", group, object["kind"])
	check, ok := checks[kind]
	if !ok {
		return nil, fmt.Errorf("there is no check for %s", kind)
	}
	said, err := execute(check, object)
	if err != nil {
		return nil, fmt.Errorf("the check for %s: %w", kind, err)
	}
	return said, nil
}

// execute runs a check over an object, for at most a second.
func execute(check string, object map[string]any) (*verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// Argo CD opens a part of os as well, which no check here needs.
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		function := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(function, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(check); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("it returns a %s and no table", returned.Type())
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return nil, err
	}
	said := &verdict{}
	if err := json.Unmarshal(text, said); err != nil {
		return nil, err
	}
	switch said.Status {
	case "Healthy", "Progressing", "Suspended", "Degraded", "Missing", "Unknown":
		return said, nil
	}
	return nil, fmt.Errorf("%q is no health", said.Status)
}
