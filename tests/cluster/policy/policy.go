// Package policy enforces NetworkPolicies in the cluster of the tests, with nftables.
//
// It is test equipment for one node, and not for production: it exists because the tests' cluster has no network
// plugin that would. What it does not do is said in the cluster's README. It fails closed: an address of a Pod that it
// has not heard of can reach nothing and can't be reached, a policy that it does not understand lets nothing through,
// and what it has written stays when it ends.
//
// State is what it knows of the cluster, Compile makes rules of that, and Run keeps the node's rules up to date.
package policy

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Run is the verb `policy`: it enforces until the context ends, or cleans up (--clean).
func Run(ctx context.Context, arguments []string) error {
	var (
		options    Options
		kubeconfig string
		clean      bool
	)
	flags := flag.NewFlagSet("policy", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "how to reach the API server")
	flags.Func("pods", "a range that Pods have addresses from (CIDR, IPv4); may be repeated", func(text string) error {
		prefix, err := netip.ParsePrefix(text)
		if err == nil && !prefix.Addr().Is4() {
			err = errors.New("not IPv4")
		}
		options.Pods = append(options.Pods, prefix)
		return err
	})
	flags.StringVar(&options.Interfaces, "interfaces", "",
		"the node's ends of the Pods' links, such as veth*: whatever comes from one and is not from a Pod's address is dropped")
	flags.BoolVar(&clean, "clean", false, "remove all rules and end")
	if err := flags.Parse(arguments); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if clean {
		return Clean(ctx)
	}
	if err := options.check(); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	// One small list for each change: the usual limit would hold up the rules of new Pods.
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return NewEngine(client, options).Run(ctx)
}

// Options is what the engine knows of the node, and does not hear from the API server.
type Options struct {
	// Pods are the ranges that Pods have addresses from.
	Pods []netip.Prefix
	// Interfaces is a pattern of nft's for the node's ends of the Pods' links; none, if empty.
	Interfaces string
}

func (o Options) check() error {
	if len(o.Pods) == 0 {
		return errors.New("say with --pods which addresses Pods have")
	}
	if len(o.Interfaces) > 15 || strings.ContainsFunc(o.Interfaces, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*", r)
	}) {
		return fmt.Errorf("%q is no pattern for names of interfaces", o.Interfaces)
	}
	return nil
}
