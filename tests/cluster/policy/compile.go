package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// direction is one of the two that policies speak of, seen from the Pod that they select.
type direction struct {
	kind networkingv1.PolicyType
	// chain begins the names of chains, and is the name of the map of the Pods that are isolated.
	chain string
	// other is the field of a packet that has the address of the other end.
	other string
}

var (
	egress  = direction{networkingv1.PolicyTypeEgress, "egress", "ip daddr"}
	ingress = direction{networkingv1.PolicyTypeIngress, "ingress", "ip saddr"}
)

// rule is a rule of either direction.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func (d direction) rules(policy *networkingv1.NetworkPolicy) []rule {
	var found []rule
	if d.kind == networkingv1.PolicyTypeEgress {
		for _, r := range policy.Spec.Egress {
			found = append(found, rule{r.To, r.Ports})
		}
	} else {
		for _, r := range policy.Spec.Ingress {
			found = append(found, rule{r.From, r.Ports})
		}
	}
	return found
}

// isolates says whether a policy speaks of this direction.
func (d direction) isolates(policy *networkingv1.NetworkPolicy) (bool, error) {
	if len(policy.Spec.PolicyTypes) == 0 {
		return d.kind == networkingv1.PolicyTypeIngress || len(policy.Spec.Egress) > 0, nil
	}
	for _, kind := range policy.Spec.PolicyTypes {
		if kind != networkingv1.PolicyTypeIngress && kind != networkingv1.PolicyTypeEgress {
			return true, fmt.Errorf("the policy type %q is unknown", kind)
		}
	}
	return slices.Contains(policy.Spec.PolicyTypes, d.kind), nil
}

type compiler struct {
	pods       []*pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
	problems   []Problem
}

// Compile makes the rules, as text for `nft -f -`, which replace those that are there in one step.
func Compile(state State, options Options) (string, []Problem) {
	pods, contested := state.pods()
	c := &compiler{pods: pods, namespaces: state.namespaces(), policies: state.policies()}

	var known []netip.Addr
	ranges := slices.Clone(options.Pods)
	chains := map[direction]map[netip.Addr][]string{egress: {}, ingress: {}}
	comments := map[netip.Addr]string{}
	for _, p := range pods {
		for _, d := range []direction{egress, ingress} {
			lines, isolated := c.chain(p, d)
			if !isolated {
				continue
			}
			for _, address := range p.addresses {
				if !contested[address] {
					chains[d][address] = lines
				}
			}
		}
		for _, address := range p.addresses {
			if contested[address] {
				c.problem("", "more than one Pod has the address %s (one is %s): it is closed", address, p)
				continue
			}
			known = append(known, address)
			comments[address] = p.String()
			if !slices.ContainsFunc(options.Pods, func(r netip.Prefix) bool { return r.Contains(address) }) {
				ranges = append(ranges, netip.PrefixFrom(address, 32))
			}
		}
	}

	text := write(layout{ranges: ranges, known: known, chains: chains, comments: comments, interfaces: options.Interfaces})
	slices.SortFunc(c.problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return text, slices.Compact(c.problems)
}

// chain has the rules of one Pod in one direction: each lets a packet go on by `return`, and what is left is dropped.
func (c *compiler) chain(p *pod, d direction) (lines []string, isolated bool) {
	understood := true
	for _, policy := range c.policies {
		if policy.Namespace != p.namespace {
			continue
		}
		ours, err := d.isolates(policy)
		if !ours {
			continue
		}
		selects, unclear := selector(&policy.Spec.PodSelector, nil)
		if err == nil {
			err = unclear
		}
		if unclear == nil && !selects.Matches(p.labels) {
			continue
		}
		isolated = true
		var more []string
		if err == nil {
			more, err = c.policy(p, d, policy)
		}
		if err != nil {
			c.problem(policy.Namespace+"/"+policy.Name, "%v", err)
			understood = false
		}
		lines = append(lines, more...)
	}
	if !understood {
		return nil, true
	}
	slices.Sort(lines)
	return slices.Compact(lines), isolated
}

func (c *compiler) policy(p *pod, d direction, policy *networkingv1.NetworkPolicy) ([]string, error) {
	var lines []string
	for _, r := range d.rules(policy) {
		ports, err := readPorts(r.ports)
		if err != nil {
			return nil, err
		}
		peers, err := c.peers(policy.Namespace, r.peers)
		if err != nil {
			return nil, err
		}
		for _, peer := range peers {
			// A name means what it means to the Pod that is reached.
			switch {
			case ports.any:
				lines = append(lines, join(d.at(peer)))
			case d.kind == networkingv1.PolicyTypeIngress:
				lines = append(lines, perPort(d.at(peer), ports.of(p))...)
			case len(ports.named) == 0:
				lines = append(lines, perPort(d.at(peer), ports.numbers)...)
			case peer.pods != nil:
				for _, reached := range peer.pods {
					lines = append(lines, perPort(d.at(others{pods: []*pod{reached}}), ports.of(reached))...)
				}
			default:
				return nil, fmt.Errorf("what %s means for addresses that are no Pod's is not known", ports.names())
			}
		}
	}
	return lines, nil
}

// at is nft's match for the other end.
func (d direction) at(peer others) string {
	switch {
	case peer.everybody:
		return ""
	case peer.pods != nil:
		var addresses []netip.Addr
		for _, p := range peer.pods {
			addresses = append(addresses, p.addresses...)
		}
		slices.SortFunc(addresses, netip.Addr.Compare)
		return d.other + " " + set(slices.Compact(addresses))
	}
	match := d.other + " " + peer.block.String()
	if len(peer.except) > 0 {
		match += " " + d.other + " != " + set(disjoint(peer.except))
	}
	return match
}

func perPort(match string, ports map[string][]string) []string {
	var lines []string
	for _, protocol := range slices.Sorted(maps.Keys(ports)) {
		numbers := ports[protocol]
		if slices.Contains(numbers, allPorts) {
			lines = append(lines, join(match, "meta l4proto "+protocol))
			continue
		}
		// One rule for each: spans that overlap are no set.
		for _, number := range numbers {
			lines = append(lines, join(match, protocol+" dport "+number))
		}
	}
	return lines
}

func join(parts ...string) string {
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(append(said, "return"), " ")
}

// disjoint leaves out the ranges that lie within others: a set holds none that overlap.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.SortedFunc(slices.Values(prefixes), comparePrefixes)
	var found []netip.Prefix
	for _, prefix := range sorted {
		if len(found) == 0 || !found[len(found)-1].Overlaps(prefix) {
			found = append(found, prefix)
		}
	}
	return found
}

func comparePrefixes(a, b netip.Prefix) int {
	if order := a.Addr().Compare(b.Addr()); order != 0 {
		return order
	}
	return a.Bits() - b.Bits()
}

func (c *compiler) problem(policy, format string, arguments ...any) {
	c.problems = append(c.problems, Problem{Policy: policy, Says: fmt.Sprintf(format, arguments...)})
}
