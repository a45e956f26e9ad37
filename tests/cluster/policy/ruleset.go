package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Table is the name of the table that holds all rules, and nobody else's.
const Table = "cataloger_policy"

// layout is what the rules say, in nft's terms.
type layout struct {
	// ranges have the addresses of Pods, and known those that are a Pod's.
	ranges []netip.Prefix
	known  []netip.Addr
	// chains have the rules of the isolated Pods' addresses.
	chains     map[direction]map[netip.Addr][]string
	comments   map[netip.Addr]string
	interfaces string
}

// Closed are the rules before anything is known: no Pod reaches anything, or is reached.
func Closed(options Options) string {
	return write(layout{ranges: options.Pods, interfaces: options.Interfaces})
}

func write(l layout) string {
	var b strings.Builder
	line := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n", arguments...) }

	line("# Made by the policy engine of the tests' cluster: see tests/cluster.")
	line("table inet %s", Table)
	line("delete table inet %s", Table)
	line("table inet %s {", Table)
	line("\tset ranges { type ipv4_addr; flags interval; elements = %s; }", set(disjoint(l.ranges)))
	line("\tset known { type ipv4_addr; %s}", elements(l.known))
	for _, d := range []direction{egress, ingress} {
		for _, address := range addresses(l.chains[d]) {
			line("\n\t# %s", l.comments[address])
			line("\tchain %s {", chainOf(d, address))
			for _, rule := range l.chains[d][address] {
				line("\t\t%s", rule)
			}
			line("\t\tdrop")
			line("\t}")
		}
	}

	// A Pod that is known and isolated goes through its chain; one that is known and not, through neither.
	for _, d := range []direction{egress, ingress} {
		own, interfaces := "ip saddr", "iifname"
		if d == ingress {
			own, interfaces = "ip daddr", "oifname"
		}
		line("\n\tchain %s {", d.chain)
		if l.interfaces == "" {
			line("\t\t%s != @ranges return", own)
			line("\t\tmeta nfproto ipv6 return")
		} else {
			line("\t\t%s != \"%s\" %s != @ranges return", interfaces, l.interfaces, own)
			line("\t\t%s != \"%s\" meta nfproto ipv6 return", interfaces, l.interfaces)
			line("\t\tmeta nfproto ipv6 drop")
		}
		line("\t\t%s != @known drop", own)
		if isolated := addresses(l.chains[d]); len(isolated) > 0 {
			verdicts := make([]string, 0, len(isolated))
			for _, address := range isolated {
				verdicts = append(verdicts, fmt.Sprintf("%s : jump %s", address, chainOf(d, address)))
			}
			line("\t\t%s vmap { %s }", own, strings.Join(verdicts, ", "))
		}
		line("\t}")
	}

	// Answers pass, and what tells of errors. All else is looked at packet by packet: a policy that is new cuts what it
	// forbids also where a connection stands. What the node itself sends to its Pods passes.
	for _, hook := range []string{"forward", "input"} {
		line("\n\tchain %s {", hook)
		line("\t\ttype filter hook %s priority filter; policy accept;", hook)
		if hook == "input" {
			line("\t\tiifname \"lo\" accept")
		}
		line("\t\tct state related accept")
		line("\t\tct state established ct direction reply accept")
		line("\t\tjump egress")
		if hook == "forward" {
			line("\t\tjump ingress")
		}
		line("\t}")
	}
	line("}")
	return b.String()
}

func chainOf(d direction, address netip.Addr) string { return d.chain + "-" + address.String() }

func addresses(chains map[netip.Addr][]string) []netip.Addr {
	return slices.SortedFunc(maps.Keys(chains), netip.Addr.Compare)
}

func elements(all []netip.Addr) string {
	if len(all) == 0 {
		return ""
	}
	return "elements = " + set(slices.SortedFunc(slices.Values(all), netip.Addr.Compare)) + "; "
}

// set writes a set as nft reads it.
func set[T interface {
	cmp.Ordered | netip.Addr | netip.Prefix
}](all []T) string {
	said := make([]string, 0, len(all))
	for _, one := range all {
		said = append(said, fmt.Sprint(one))
	}
	return "{ " + strings.Join(said, ", ") + " }"
}
