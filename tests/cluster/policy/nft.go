package policy

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Apply gives rules to the kernel: all of them or, if it refuses one, none.
func Apply(ctx context.Context, rules string) error {
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(rules)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// There says whether there are rules already, of an engine that ran before.
func There(ctx context.Context) bool {
	return exec.CommandContext(ctx, "nft", "list", "table", "inet", Table).Run() == nil
}

// Clean removes all rules. That there are none is as good.
func Clean(ctx context.Context) error {
	return Apply(ctx, fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", Table))
}
