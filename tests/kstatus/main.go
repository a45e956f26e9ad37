// Command kstatus says what Flux's own library makes of objects: it reads one as JSON from each line, and prints for
// each a line with the status and the message. It is test equipment and no part of the product.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d is no object: %w", number, err)
		}
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		said, err := json.Marshal(map[string]string{
			"status":  string(result.Status),
			"message": result.Message,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(said))
	}
	return lines.Err()
}
