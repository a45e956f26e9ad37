package policy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// running is an engine over an API server that is played, whose rules go to a channel.
type running struct {
	t      *testing.T
	client *fake.Clientset
	rules  chan string
	refuse chan error
	ended  chan error
	stop   context.CancelFunc
}

func start(t *testing.T, there bool, prepare func(*fake.Clientset)) *running {
	t.Helper()
	state := read(t, strings.TrimSuffix(subject, "\n---\n"+subject[strings.LastIndex(subject, "apiVersion:"):]))
	var objects []runtime.Object
	for _, one := range state.Namespaces {
		objects = append(objects, one)
	}
	for _, one := range state.Pods {
		objects = append(objects, one)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{
		t: t, client: fake.NewClientset(objects...), stop: stop,
		rules: make(chan string, 16), refuse: make(chan error, 1), ended: make(chan error, 1),
	}
	if prepare != nil {
		prepare(r.client)
	}
	engine := NewEngine(r.client, node)
	engine.there = func(context.Context) bool { return there }
	engine.apply = func(_ context.Context, rules string) error {
		select {
		case err := <-r.refuse:
			return err
		default:
		}
		r.rules <- rules
		return nil
	}
	go func() { r.ended <- engine.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) next() string {
	r.t.Helper()
	select {
	case rules := <-r.rules:
		return rules
	case <-time.After(time.Minute):
		r.t.Fatal("no rules")
		return ""
	}
}

func (r *running) policy(spec networkingv1.NetworkPolicySpec) {
	r.t.Helper()
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "policy", Namespace: "here"}, Spec: spec}
	if _, err := r.client.NetworkingV1().NetworkPolicies("here").Create(r.t.Context(), policy, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func TestItClosesAllBeforeItKnowsAnything(t *testing.T) {
	r := start(t, false, nil)
	if first := r.next(); first != Closed(node) {
		t.Error(first)
	}
	if second := r.next(); rulesOf(second, "ingress") != "open" || !strings.Contains(second, "198.18.0.2") {
		t.Error(second)
	}
	r.policy(networkingv1.NetworkPolicySpec{})
	if third := r.next(); rulesOf(third, "ingress") != "drop" {
		t.Error(third)
	}
}

func TestItKeepsTheRulesOfAnEarlierOne(t *testing.T) {
	r := start(t, true, nil)
	if first := r.next(); first == Closed(node) {
		t.Error("it closed what was open")
	}
}

func TestWhileNobodyTellsPoliciesTheRulesStay(t *testing.T) {
	asked := make(chan struct{}, 64)
	answer := make(chan struct{})
	r := start(t, true, func(client *fake.Clientset) {
		client.PrependReactor("list", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
			select {
			case <-answer:
				return false, nil, nil
			default:
			}
			// The first list is the informer's own.
			asked <- struct{}{}
			if len(asked) == 1 {
				return false, nil, nil
			}
			return true, nil, errors.New("the API server is away")
		})
	})
	for len(asked) < 3 {
		select {
		case rules := <-r.rules:
			t.Fatalf("rules without policies: %s", rules)
		case <-time.After(time.Millisecond):
		}
	}
	close(answer)
	if rules := r.next(); rulesOf(rules, "ingress") != "open" {
		t.Error(rules)
	}
}

func TestRulesThatTheKernelRefusesCloseAll(t *testing.T) {
	r := start(t, true, nil)
	r.next()
	r.refuse <- errors.New("refused")
	r.policy(networkingv1.NetworkPolicySpec{})
	if rules := r.next(); rules != Closed(node) {
		t.Error(rules)
	}
	if rules := r.next(); rulesOf(rules, "ingress") != "drop" {
		t.Error(rules)
	}
}

func TestArguments(t *testing.T) {
	for arguments, says := range map[string]string{
		"":                             "--pods",
		"--pods 198.18.0.0":            "prefix",
		"--pods fd00::/64":             "IPv4",
		"--pods 198.18.0.0/24 --nodes": "nodes",
		"--pods 198.18.0.0/24 --interfaces ve\"th": "pattern",
	} {
		err := Run(t.Context(), strings.Fields(arguments))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(says)) {
			t.Errorf("%q: %v", arguments, err)
		}
	}
}
