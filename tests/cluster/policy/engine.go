package policy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// retry is how long after a failure it is tried again.
	retry = 250 * time.Millisecond
	// patience is how long the API server or nft may take over one thing.
	patience = 10 * time.Second
)

// Engine keeps the node's rules as the cluster's policies want them.
type Engine struct {
	client  kubernetes.Interface
	options Options
	apply   func(context.Context, string) error
	there   func(context.Context) bool
	pods    corelisters.PodLister
	spaces  corelisters.NamespaceLister
	// changed holds at most one: what happens while rules are made is seen by the next ones.
	changed  chan struct{}
	applied  string
	problems []Problem
}

// NewEngine makes one that does nothing yet.
func NewEngine(client kubernetes.Interface, options Options) *Engine {
	return &Engine{client: client, options: options, apply: Apply, there: There, changed: make(chan struct{}, 1)}
}

// Run enforces until the context ends. The rules stay.
func (e *Engine) Run(ctx context.Context) error {
	// Rules that an earlier engine left are better than none being let through; where there are none, all is closed.
	if !e.there(ctx) {
		if err := e.apply(ctx, Closed(e.options)); err != nil {
			return fmt.Errorf("policy: closing all to begin with: %w", err)
		}
	}

	factory := informers.NewSharedInformerFactory(e.client, 0)
	e.pods, e.spaces = factory.Core().V1().Pods().Lister(), factory.Core().V1().Namespaces().Lister()
	all := []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	}
	for _, informer := range all {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { e.signal() },
			UpdateFunc: func(any, any) { e.signal() },
			DeleteFunc: func(any) { e.signal() },
		}); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for _, informer := range all {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return nil
		}
	}
	e.signal()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
		}
		if err := e.once(ctx); err != nil && ctx.Err() == nil {
			log.Printf("policy: %v (trying again)", err)
			time.AfterFunc(retry, e.signal)
		}
	}
}

func (e *Engine) signal() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// once makes the rules anew, and gives them to the kernel if they are others.
func (e *Engine) once(ctx context.Context) error {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	began := time.Now()
	state, err := e.state(ctx)
	if err != nil {
		return err
	}
	rules, problems := Compile(state, e.options)
	for _, problem := range problems {
		if !slices.Contains(e.problems, problem) {
			log.Printf("policy: %s", problem)
		}
	}
	e.problems = problems
	if rules == e.applied {
		return nil
	}
	if err := e.apply(ctx, rules); err != nil {
		// The rules that are there are not those that are wanted: rather none pass.
		e.applied = ""
		return errors.Join(err, e.apply(ctx, Closed(e.options)))
	}
	e.applied = rules
	log.Printf("policy: %d Pods and %d policies, in %d ms", len(state.Pods), len(state.Policies), time.Since(began).Milliseconds())
	return nil
}

// state reads what the rules are made of. Policies are read from the API server itself, after the Pods: a policy that
// was there before a Pod is never heard of after it, and no Pod is let through that a policy selects.
func (e *Engine) state(ctx context.Context) (State, error) {
	pods, err := e.pods.List(labels.Everything())
	if err != nil {
		return State{}, fmt.Errorf("reading Pods: %w", err)
	}
	namespaces, err := e.spaces.List(labels.Everything())
	if err != nil {
		return State{}, fmt.Errorf("reading namespaces: %w", err)
	}
	list, err := e.client.NetworkingV1().NetworkPolicies(corev1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return State{}, fmt.Errorf("reading policies: %w", err)
	}
	policies := make([]*networkingv1.NetworkPolicy, 0, len(list.Items))
	for i := range list.Items {
		policies = append(policies, &list.Items[i])
	}
	return State{Pods: pods, Namespaces: namespaces, Policies: policies}, nil
}
