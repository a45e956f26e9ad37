package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// State is what the rules are made of.
type State struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
}

// pod is a Pod as the rules see it: one that has an address of its own.
type pod struct {
	namespace, name string
	labels          labels.Set
	addresses       []netip.Addr
	ports           []corev1.ContainerPort
}

func (p *pod) String() string { return p.namespace + "/" + p.name }

// pods are those that send and receive, sorted; and the addresses that more than one of them claims. Nobody knows whose
// those are: a Pod that ends gives its address back before it is gone.
func (s State) pods() (found []*pod, contested map[netip.Addr]bool) {
	claims := map[netip.Addr]int{}
	for _, p := range s.Pods {
		// One that has ended has no address any more, whatever its status says.
		if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		one := &pod{namespace: p.Namespace, name: p.Name, labels: labels.Set(p.Labels)}
		for _, text := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
			address, err := netip.ParseAddr(text.IP)
			if err == nil && address.Is4() && !slices.Contains(one.addresses, address) {
				one.addresses = append(one.addresses, address)
				claims[address]++
			}
		}
		if len(one.addresses) == 0 {
			continue
		}
		for _, c := range p.Spec.Containers {
			one.ports = append(one.ports, c.Ports...)
		}
		for _, c := range p.Spec.InitContainers {
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				one.ports = append(one.ports, c.Ports...)
			}
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b *pod) int { return strings.Compare(a.String(), b.String()) })
	contested = map[netip.Addr]bool{}
	for address, times := range claims {
		if times > 1 {
			contested[address] = true
		}
	}
	return found, contested
}

func (s State) namespaces() map[string]labels.Set {
	found := make(map[string]labels.Set, len(s.Namespaces))
	for _, n := range s.Namespaces {
		found[n.Name] = n.Labels
	}
	return found
}

// policies are sorted, so that the same state gives the same rules.
func (s State) policies() []*networkingv1.NetworkPolicy {
	return slices.SortedFunc(slices.Values(s.Policies), func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}

// Problem is something in the cluster that closes more than was asked for.
type Problem struct {
	// Policy is the policy that was not understood, or empty.
	Policy string
	// Says what is wrong.
	Says string
}

func (p Problem) String() string {
	if p.Policy == "" {
		return p.Says
	}
	return fmt.Sprintf("the policy %s lets nothing through: %s", p.Policy, p.Says)
}
