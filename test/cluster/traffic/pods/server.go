// Package pods gives the pods of a cluster without kubelets real HTTP servers.
//
// The nodes of the local cluster are simulated, so its pods run no code. This package watches
// them and, for each running pod with address 10.b.c.d, serves HTTP on 127.b.c.d and the first
// container's first port (8080 if it names none), which test gateways and scrapers dial instead. On
// the same port it answers the health service of gRPC over HTTP/2 without TLS.
// How a server behaves follows from the image tag, see ParseImage. When it listens, the pod gets the
// annotation ReadyAnnotation, on which the simulated node makes the pod ready. So readiness,
// errors and latency are real all the way to the requests and the metrics.
//
// A server lives until its Pod object is gone, and then finishes the requests in flight, as a
// process does that gets its termination signal in good order.
package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

const (
	// UserName is the identity that this package is meant to run under. A gate that governs pods
	// has to let it patch them.
	UserName = "system:traffic-pods"

	// ReadyAnnotation is "true" on a pod whose server listens and is ready, "false" on one that
	// is so no more.
	ReadyAnnotation = "traffic.tidegate.test/ready"
)

// drainTimeout bounds how long requests in flight may take after the Pod object is gone.
const drainTimeout = 10 * time.Second

// PolicyRules are the rights that UserName needs in the cluster.
func PolicyRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{""},
		Resources: []string{"pods"},
		Verbs:     []string{"get", "list", "watch", "patch"},
	}}
}

// Options configure Serve.
type Options struct {
	// RESTConfig reaches the cluster, best as UserName. Required, unless Client is set.
	RESTConfig *rest.Config
	// Client replaces the client made from RESTConfig.
	Client kubernetes.Interface
	// PodCIDR limits the pods that are served to those with an address in it; empty means all of
	// 10.0.0.0/8. Clusters side by side must not serve each other's addresses.
	PodCIDR string
	// Log takes what happens, at V(1) each start and end of a pod's server. The zero value is silent.
	Log logr.Logger
	// Clock times waits and latencies; nil means real time.
	Clock clock.WithTicker
}

// Server serves the pods of one cluster. Make it with Serve.
type Server struct {
	client kubernetes.Interface
	lister corelisters.PodLister
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
	cidr   netip.Prefix
	log    logr.Logger
	clock  clock.WithTicker

	// life ends when the Server does.
	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu   sync.Mutex
	pods map[types.NamespacedName]*podServer
}

// Serve starts serving the cluster's pods and returns when the present pods are known. It goes on
// until ctx ends or Close is called.
func Serve(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTransform(stripManagedFields))
	informer := factory.Core().V1().Pods()
	s.lister = informer.Lister()
	if _, err := informer.Informer().AddEventHandler(s.events()); err != nil {
		s.end()
		return nil, fmt.Errorf("watching pods: %w", err)
	}

	factory.Start(s.life.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		s.end()
		return nil, fmt.Errorf("waiting for the first list of pods: %w", context.Cause(ctx))
	}
	s.tasks.Go(s.work)
	s.tasks.Go(func() {
		<-s.life.Done()
		s.queue.ShutDown()
		factory.Shutdown()
	})
	return s, nil
}

// stripManagedFields keeps the largest part of an object, which nobody reads here, out of memory.
func stripManagedFields(obj any) (any, error) {
	if pod, ok := obj.(*corev1.Pod); ok {
		pod.ManagedFields = nil
	}
	return obj, nil
}

func newServer(ctx context.Context, o Options) (*Server, error) {
	s := &Server{
		client: o.Client,
		cidr:   netip.MustParsePrefix("10.0.0.0/8"),
		log:    o.Log,
		clock:  o.Clock,
		pods:   map[types.NamespacedName]*podServer{},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](5*time.Millisecond, time.Second)),
	}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if o.PodCIDR != "" {
		prefix, err := netip.ParsePrefix(o.PodCIDR)
		if err != nil {
			return nil, fmt.Errorf("reading the pod CIDR: %w", err)
		}
		s.cidr = prefix
	}
	if s.client == nil {
		if o.RESTConfig == nil {
			return nil, errors.New("serving pods: Options.RESTConfig is required to reach the cluster")
		}
		config := rest.CopyConfig(o.RESTConfig)
		config.QPS, config.Burst = 200, 400 // One patch per pod; a rollout starts many at once.
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("making the client of the pod server: %w", err)
		}
		s.client = client
	}
	s.life, s.end = context.WithCancel(ctx)
	return s, nil
}

// Close ends every pod's server, waits for the requests in flight, and then for everything the
// Server started. It leaves the pods' annotations as they are.
func (s *Server) Close() {
	s.end()
	s.tasks.Wait()

	s.mu.Lock()
	left := s.pods
	s.pods = map[types.NamespacedName]*podServer{}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, p := range left {
		closing.Go(func() { p.drain(context.WithoutCancel(s.life)) })
	}
	closing.Wait()
}

// Serving returns the number of pods that have a server now.
func (s *Server) Serving() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pods)
}

func (s *Server) events() cache.ResourceEventHandler {
	add := func(obj any) {
		if key, err := cache.DeletionHandlingObjectToName(obj); err == nil {
			s.queue.Add(types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, obj any) { add(obj) },
		DeleteFunc: add,
	}
}

// work reconciles one pod after the other; what takes time runs beside it.
func (s *Server) work() {
	for {
		key, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		if err := s.reconcile(key); err != nil {
			s.log.Error(err, "Serving a pod failed, will retry", "pod", key.String())
			s.queue.AddRateLimited(key)
		} else {
			s.queue.Forget(key)
		}
		s.queue.Done(key)
	}
}

// reconcile brings the server of one pod in line with its object.
func (s *Server) reconcile(key types.NamespacedName) error {
	pod, err := s.lister.Pods(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading pod %s: %w", key, err)
	}
	current := s.at(key)
	if current != nil && (pod == nil || pod.UID != current.uid || pod.Status.PodIP != current.podIP || finished(pod)) {
		s.retire(key, current)
		current = nil
	}
	switch {
	case pod == nil || finished(pod) || pod.Status.Phase != corev1.PodRunning || !s.owns(pod.Status.PodIP):
		return nil
	case current != nil:
		current.adopt(pod) // The image of a running pod may change.
		return nil
	default:
		return s.start(key, pod)
	}
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (s *Server) owns(podIP string) bool {
	ip, err := netip.ParseAddr(podIP)
	return err == nil && s.cidr.Contains(ip)
}

func (s *Server) at(key types.NamespacedName) *podServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[key]
}

func (s *Server) start(key types.NamespacedName, pod *corev1.Pod) error {
	p, err := listen(s.life, pod, s.clock)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.pods[key] = p
	s.mu.Unlock()
	s.log.V(1).Info("Serving pod", "pod", key.String(), "address", p.address)

	announced := pod.Annotations[ReadyAnnotation]
	s.tasks.Go(func() {
		p.live(func(ctx context.Context, ready bool) error {
			value := fmt.Sprint(ready)
			if announced == value {
				return nil
			}
			if err := s.announce(ctx, key, p.uid, value); err != nil {
				return err
			}
			announced = value
			return nil
		}, func(err error) { s.log.Error(err, "Telling a pod's readiness failed, will retry", "pod", key.String()) })
	})
	return nil
}

// retire takes the server from the map and lets it end beside the worker. Its address is free at
// once, since the simulated node may give it to another pod.
func (s *Server) retire(key types.NamespacedName, p *podServer) {
	s.mu.Lock()
	delete(s.pods, key)
	s.mu.Unlock()
	p.release()
	s.log.V(1).Info("Pod is gone, ending its server", "pod", key.String(), "address", p.address)
	s.tasks.Go(func() { p.drain(context.WithoutCancel(s.life)) })
}

// announce sets the pod's annotation, on this very pod alone and not on a namesake.
func (s *Server) announce(ctx context.Context, key types.NamespacedName, uid types.UID, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         uid,
		"annotations": map[string]string{ReadyAnnotation: value},
	}})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	_, err = s.client.CoreV1().Pods(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // Gone, or a namesake that gets its own server: nothing left to tell.
	case err != nil:
		return fmt.Errorf("setting %s=%s on pod %s: %w", ReadyAnnotation, value, key, err)
	}
	return nil
}
