package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// others is one kind of those at the other end: some Pods, a range, or everybody.
type others struct {
	// everybody stands for any address.
	everybody bool
	// pods, if no range is set.
	pods []*pod
	// block is the range, and except what of it is left out.
	block  netip.Prefix
	except []netip.Prefix
}

// peers reads the `from` or `to` of a rule. An empty list is everybody.
func (c *compiler) peers(namespace string, list []networkingv1.NetworkPolicyPeer) ([]others, error) {
	if len(list) == 0 {
		return []others{{everybody: true}}, nil
	}
	var found []others
	for _, peer := range list {
		selectors := peer.PodSelector != nil || peer.NamespaceSelector != nil
		switch {
		case peer.IPBlock != nil && !selectors:
			one, err := block(peer.IPBlock)
			if err != nil {
				return nil, err
			}
			// A range of IPv6 has no address that a Pod could reach here.
			if one.block.Addr().Is4() {
				found = append(found, one)
			}
		case peer.IPBlock == nil && selectors:
			pods, err := c.selected(namespace, peer)
			if err != nil {
				return nil, err
			}
			if len(pods) > 0 {
				found = append(found, others{pods: pods})
			}
		default:
			// Such as one that selects by a field which this version does not know.
			return nil, errors.New("a peer is neither selectors nor an ipBlock")
		}
	}
	return found, nil
}

func (c *compiler) selected(namespace string, peer networkingv1.NetworkPolicyPeer) ([]*pod, error) {
	byPod, err := selector(peer.PodSelector, labels.Everything())
	if err != nil {
		return nil, err
	}
	byNamespace, err := selector(peer.NamespaceSelector, nil)
	if err != nil {
		return nil, err
	}
	var found []*pod
	for _, p := range c.pods {
		there := p.namespace == namespace
		if byNamespace != nil {
			set, known := c.namespaces[p.namespace]
			there = known && byNamespace.Matches(set)
		}
		if there && byPod.Matches(p.labels) {
			found = append(found, p)
		}
	}
	return found, nil
}

func selector(written *metav1.LabelSelector, otherwise labels.Selector) (labels.Selector, error) {
	if written == nil {
		return otherwise, nil
	}
	read, err := metav1.LabelSelectorAsSelector(written)
	if err != nil {
		return nil, fmt.Errorf("a selector: %w", err)
	}
	return read, nil
}

func block(written *networkingv1.IPBlock) (others, error) {
	prefix, err := netip.ParsePrefix(written.CIDR)
	if err != nil {
		return others{}, fmt.Errorf("the ipBlock %q: %w", written.CIDR, err)
	}
	one := others{block: prefix.Masked()}
	for _, text := range written.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return others{}, fmt.Errorf("the exception %q of the ipBlock %s: %w", text, written.CIDR, err)
		}
		if except = except.Masked(); !one.block.Overlaps(except) || except.Bits() < one.block.Bits() {
			return others{}, fmt.Errorf("the exception %s is not within the ipBlock %s", text, written.CIDR)
		}
		one.except = append(one.except, except)
	}
	return one, nil
}

// ports is what a rule says of ports: by protocol, as nft writes them. A protocol without any is all of it.
type ports struct {
	// any is a rule that names none.
	any bool
	// numbers by protocol, as nft writes them.
	numbers map[string][]string
	// named, by protocol.
	named map[string][]string
}

var protocols = map[corev1.Protocol]string{
	corev1.ProtocolTCP:  "tcp",
	corev1.ProtocolUDP:  "udp",
	corev1.ProtocolSCTP: "sctp",
}

// allPorts stands for a protocol of which no port was named.
const allPorts = "0-65535"

func readPorts(list []networkingv1.NetworkPolicyPort) (ports, error) {
	found := ports{any: len(list) == 0, numbers: map[string][]string{}, named: map[string][]string{}}
	for _, port := range list {
		protocol := "tcp"
		if port.Protocol != nil {
			var known bool
			if protocol, known = protocols[*port.Protocol]; !known {
				return ports{}, fmt.Errorf("the protocol %q is unknown", *port.Protocol)
			}
		}
		switch {
		case port.Port == nil && port.EndPort == nil:
			found.numbers[protocol] = []string{allPorts}
		case port.Port == nil:
			return ports{}, errors.New("an endPort without a port")
		case port.Port.Type == intstr.String:
			if port.EndPort != nil {
				return ports{}, fmt.Errorf("an endPort for the named port %q", port.Port.StrVal)
			}
			found.named[protocol] = append(found.named[protocol], port.Port.StrVal)
		default:
			first, last := port.Port.IntVal, port.Port.IntVal
			if port.EndPort != nil {
				last = *port.EndPort
			}
			if first < 1 || last > 65535 || last < first {
				return ports{}, fmt.Errorf("the ports %d to %d", first, last)
			}
			found.numbers[protocol] = append(found.numbers[protocol], span(first, last))
		}
	}
	return found, nil
}

func span(first, last int32) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// of resolves the named ports as one Pod has them. A name that it does not have is no port.
func (p ports) of(owner *pod) map[string][]string {
	found := map[string][]string{}
	for protocol, numbers := range p.numbers {
		found[protocol] = slices.Clone(numbers)
	}
	for protocol, names := range p.named {
		for _, name := range names {
			for _, port := range owner.ports {
				of := protocols[port.Protocol]
				if port.Protocol == "" {
					of = "tcp"
				}
				if port.Name == name && of == protocol {
					found[protocol] = append(found[protocol], fmt.Sprint(port.ContainerPort))
				}
			}
		}
	}
	return found
}

// names are the named ports, for messages.
func (p ports) names() string {
	var all []string
	for _, names := range p.named {
		all = append(all, names...)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
