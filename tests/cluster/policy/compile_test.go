package policy

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

var node = Options{Pods: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/24")}, Interfaces: "pod*"}

// read makes a state of manifests. Strict: a field that is misspelt here would test nothing.
func read(t *testing.T, text string) State {
	t.Helper()
	var state State
	for _, document := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		var into any
		switch kind.Kind {
		case "Pod":
			state.Pods = append(state.Pods, &corev1.Pod{})
			into = state.Pods[len(state.Pods)-1]
		case "Namespace":
			state.Namespaces = append(state.Namespaces, &corev1.Namespace{})
			into = state.Namespaces[len(state.Namespaces)-1]
		case "NetworkPolicy":
			state.Policies = append(state.Policies, &networkingv1.NetworkPolicy{})
			into = state.Policies[len(state.Policies)-1]
		default:
			t.Fatalf("a %q", kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// TestGolden compiles testdata/*.yaml, and compares with the .nft beside each.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rules, problems := Compile(read(t, string(text)), node)
			for _, problem := range problems {
				rules += "# " + problem.String() + "\n"
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".nft"
			if *update {
				if err := os.WriteFile(golden, []byte(rules), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if rules != string(want) {
				t.Errorf("other rules than %s; -update writes them. They are:\n%s", golden, rules)
			}
		})
	}
}

const subject = `
apiVersion: v1
kind: Namespace
metadata: {name: here, labels: {kubernetes.io/metadata.name: here}}
---
apiVersion: v1
kind: Namespace
metadata: {name: there, labels: {kubernetes.io/metadata.name: there, team: b}}
---
apiVersion: v1
kind: Pod
metadata: {name: subject, namespace: here, labels: {app: subject}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]}
status: {phase: Running, podIP: 198.18.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: here, labels: {app: near}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 8081}]}]}
status: {phase: Running, podIP: 198.18.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: there, labels: {app: far}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 8082}]}]}
status: {phase: Running, podIP: 198.18.0.4}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: policy, namespace: here}
spec:
`

// rulesOf are those of the subject's chain in one direction; "open" if it has none.
func rulesOf(rules, direction string) string {
	_, chain, isolated := strings.Cut(rules, "\tchain "+direction+"-198.18.0.2 {\n")
	if !isolated {
		return "open"
	}
	chain, _, _ = strings.Cut(chain, "\t}")
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(chain), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "; ")
}

func TestMeaning(t *testing.T) {
	for name, test := range map[string]struct{ spec, egress, ingress, problem string }{
		"no types and no egress isolate ingress": {
			spec: `{podSelector: {}}`, egress: "open", ingress: "drop",
		},
		"no types and some egress isolate both": {
			spec: `{podSelector: {}, egress: [{}]}`, egress: "return; drop", ingress: "drop",
		},
		"egress only": {
			spec: `{podSelector: {}, policyTypes: [Egress]}`, egress: "drop", ingress: "open",
		},
		"another Pod": {
			spec: `{podSelector: {matchLabels: {app: other}}}`, egress: "open", ingress: "open",
		},
		"expressions": {
			spec:   `{podSelector: {matchExpressions: [{key: app, operator: In, values: [subject]}, {key: x, operator: DoesNotExist}]}}`,
			egress: "open", ingress: "drop",
		},
		"an empty list is everybody": {
			spec: `{podSelector: {}, ingress: [{from: []}]}`, egress: "open", ingress: "return; drop",
		},
		"Pods of this namespace": {
			spec:   `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`,
			egress: "open", ingress: "ip saddr { 198.18.0.2, 198.18.0.3 } return; drop",
		},
		"Pods of namespaces": {
			spec:   `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`,
			egress: "open", ingress: "ip saddr { 198.18.0.4 } return; drop",
		},
		"both selectors are an and": {
			spec:   `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: near}}}]}]}`,
			egress: "open", ingress: "ip saddr { 198.18.0.3 } return; drop",
		},
		"two peers are an or": {
			spec: `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}},
			       {podSelector: {matchLabels: {app: near}}}]}]}`,
			egress: "open", ingress: "ip saddr { 198.18.0.3 } return; ip saddr { 198.18.0.4 } return; drop",
		},
		"selectors of nobody": {
			spec:   `{podSelector: {}, egress: [{to: [{podSelector: {matchLabels: {app: none}}}]}], policyTypes: [Egress]}`,
			egress: "drop", ingress: "open",
		},
		"a range and what is not of it": {
			spec: `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.19.0.7/16,
			       except: [198.19.1.0/24, 198.19.1.128/25, 198.19.2.1/32]}}]}]}`,
			egress: "ip daddr 198.19.0.0/16 ip daddr != { 198.19.1.0/24, 198.19.2.1/32 } return; drop", ingress: "open",
		},
		"a range of IPv6": {
			spec:   `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: "::/0"}}]}]}`,
			egress: "drop", ingress: "open",
		},
		"ports": {
			spec: `{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 5432}, {port: 53, protocol: UDP},
			       {port: 2905, protocol: SCTP}, {port: 8000, endPort: 9000}]}]}`,
			egress:  "sctp dport 2905 return; tcp dport 5432 return; tcp dport 8000-9000 return; udp dport 53 return; drop",
			ingress: "open",
		},
		"all of a protocol": {
			spec:   `{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP}, {port: 1, protocol: UDP}]}]}`,
			egress: "meta l4proto udp return; drop", ingress: "open",
		},
		"a name is the selected Pod's on the way in": {
			spec:   `{podSelector: {}, ingress: [{ports: [{port: web}, {port: dns}]}]}`,
			egress: "open", ingress: "tcp dport 8080 return; drop",
		},
		"a name of another protocol": {
			spec:   `{podSelector: {}, ingress: [{ports: [{port: dns, protocol: UDP}]}]}`,
			egress: "open", ingress: "udp dport 53 return; drop",
		},
		"a name is the other Pod's on the way out": {
			spec: `{podSelector: {matchLabels: {app: subject}}, policyTypes: [Egress],
			       egress: [{to: [{namespaceSelector: {}}], ports: [{port: web}]}]}`,
			egress: "ip daddr { 198.18.0.2 } tcp dport 8080 return; ip daddr { 198.18.0.3 } tcp dport 8081 return; " +
				"ip daddr { 198.18.0.4 } tcp dport 8082 return; drop",
			ingress: "open",
		},
		"a name of no Pod closes": {
			spec: `{podSelector: {}, policyTypes: [Egress],
			       egress: [{}, {to: [{ipBlock: {cidr: 198.19.0.0/16}}], ports: [{port: web}]}]}`,
			egress: "drop", ingress: "open", problem: "what web means",
		},
		"a name that the selected Pod does not have": {
			spec:   `{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`,
			egress: "open", ingress: "drop",
		},
		"an unknown operator closes": {
			spec:   `{podSelector: {matchExpressions: [{key: app, operator: Near}]}, ingress: [{}], egress: [{}]}`,
			egress: "drop", ingress: "drop", problem: "selector",
		},
		"an unknown operator of a peer closes its direction": {
			spec: `{podSelector: {}, egress: [{}],
			       ingress: [{}, {from: [{podSelector: {matchExpressions: [{key: app, operator: Near}]}}]}]}`,
			egress: "return; drop", ingress: "drop", problem: "selector",
		},
		"a peer of a kind that is unknown closes": {
			spec:   `{podSelector: {}, ingress: [{}, {from: [{}]}]}`,
			egress: "open", ingress: "drop", problem: "neither",
		},
		"a range that is none closes": {
			spec:   `{podSelector: {}, ingress: [{}, {from: [{ipBlock: {cidr: 198.19.0.0}}]}]}`,
			egress: "open", ingress: "drop", problem: "ipBlock",
		},
		"an exception from elsewhere closes": {
			spec:   `{podSelector: {}, ingress: [{}, {from: [{ipBlock: {cidr: 198.19.0.0/24, except: [198.19.0.0/16]}}]}]}`,
			egress: "open", ingress: "drop", problem: "not within",
		},
		"an unknown protocol closes": {
			spec:   `{podSelector: {}, ingress: [{}, {ports: [{port: 1, protocol: DCCP}]}]}`,
			egress: "open", ingress: "drop", problem: "DCCP",
		},
		"an end before its beginning closes": {
			spec:   `{podSelector: {}, ingress: [{}, {ports: [{port: 9, endPort: 8}]}]}`,
			egress: "open", ingress: "drop", problem: "9 to 8",
		},
		"an end of a name closes": {
			spec:   `{podSelector: {}, ingress: [{}, {ports: [{port: web, endPort: 8}]}]}`,
			egress: "open", ingress: "drop", problem: "web",
		},
		"an unknown type closes both": {
			spec:   `{podSelector: {}, policyTypes: [Sideways], ingress: [{}], egress: [{}]}`,
			egress: "drop", ingress: "drop", problem: "Sideways",
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, problems := Compile(read(t, subject+"  "+test.spec), node)
			if got := rulesOf(rules, "egress"); got != test.egress {
				t.Errorf("egress is %s, not %s", got, test.egress)
			}
			if got := rulesOf(rules, "ingress"); got != test.ingress {
				t.Errorf("ingress is %s, not %s", got, test.ingress)
			}
			var said []string
			for _, problem := range problems {
				said = append(said, problem.String())
			}
			if all := strings.Join(said, "\n"); (test.problem == "") != (all == "") || !strings.Contains(all, test.problem) {
				t.Errorf("problems are %q, not %q", all, test.problem)
			}
		})
	}
}

func TestWhoIsKnown(t *testing.T) {
	pod := func(name, phase, address, more string) string {
		return "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: here}\nspec: {containers: []" + more +
			"}\nstatus: {phase: " + phase + ", podIP: " + address + "}"
	}
	for name, test := range map[string]struct{ pods, known string }{
		"one without an address yet": {pod("new", "Pending", `""`, ""), "198.18.0.2, 198.18.0.3, 198.18.0.4"},
		"one that starts":            {pod("new", "Pending", "198.18.0.9", ""), "198.18.0.2, 198.18.0.3, 198.18.0.4, 198.18.0.9"},
		"one that has ended":         {pod("old", "Succeeded", "198.18.0.9", ""), "198.18.0.2, 198.18.0.3, 198.18.0.4"},
		"one of the node's network":  {pod("host", "Running", "198.18.0.9", ", hostNetwork: true"), "198.18.0.2, 198.18.0.3, 198.18.0.4"},
		"two with one address":       {pod("new", "Running", "198.18.0.2", ""), "198.18.0.3, 198.18.0.4"},
	} {
		t.Run(name, func(t *testing.T) {
			rules, _ := Compile(read(t, strings.TrimSuffix(subject, "spec:\n")+"spec: {podSelector: {}}"+test.pods), node)
			if !strings.Contains(rules, "set known { type ipv4_addr; elements = { "+test.known+" }; }") {
				t.Error(rules)
			}
		})
	}
}

func TestAnAddressOutsideOfTheRangesIsEnforcedToo(t *testing.T) {
	state := read(t, subject+"  {podSelector: {}}")
	state.Pods[0].Status.PodIP = "198.19.7.7"
	rules, _ := Compile(state, node)
	if !strings.Contains(rules, "set ranges { type ipv4_addr; flags interval; elements = { 198.18.0.0/24, 198.19.7.7/32 }; }") {
		t.Error(rules)
	}
}
