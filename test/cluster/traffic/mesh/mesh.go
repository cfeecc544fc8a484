// Package mesh plays the proxies of a service mesh in the local cluster: it routes HTTP requests by
// the VirtualServices of Istio, and by HTTPRoutes whose parents are Services (GAMMA), as the proxy
// beside any client would, and dials the loopback addresses that stand for pods.
//
// It knows nothing of Tidegate. What it reads it reads by the types of Istio and the Gateway API,
// and an object with anything in it that it does not do serves nobody: no test rests on a field
// that was passed over. VirtualServices get no status, as with Istio by default; HTTPRoutes do.
package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/test/cluster/traffic/load"
	"tidegate.io/tidegate/test/cluster/traffic/pods"
)

// UserName is the identity that the mesh is meant to run under.
const UserName = "system:traffic-mesh"

const (
	headerTimeout = 30 * time.Second
	// maxCopied is the size in bytes up to which a request's body is copied.
	maxCopied = 1 << 20
)

var (
	virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	httpRoutes      = schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: "v1", Resource: "httproutes"}
	services        = corev1.SchemeGroupVersion.WithResource("services")
	endpointSlices  = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
)

// PolicyRules are the rights that UserName needs in the cluster.
func PolicyRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: read},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"networking.istio.io"}, Resources: []string{"virtualservices"}, Verbs: read},
		{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"httproutes"}, Verbs: read},
		{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"httproutes/status"}, Verbs: []string{"update"}},
	}
}

// Mesh is a running mesh. Make it with Start.
type Mesh struct {
	// URL is where it takes requests, http://127.0.0.1:port. The host of a request says what for.
	URL string

	client    dynamic.Interface
	listers   map[schema.GroupVersionResource]cache.GenericLister
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	table     atomic.Pointer[table]
	schedules schedules
	turn      atomic.Uint64
	// changed has a value when something was not looked at yet.
	changed chan struct{}
	// life ends with Close.
	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
}

// Start serves the routes of the cluster that config reaches, best as UserName, and returns when the
// present ones are known. The kinds VirtualService and HTTPRoute have to be installed.
func Start(ctx context.Context, config *rest.Config) (*Mesh, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the client of the mesh: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the mesh: %w", err)
	}
	m := &Mesh{
		URL: "http://" + listener.Addr().String(), client: client, changed: make(chan struct{}, 1),
		listers:   map[schema.GroupVersionResource]cache.GenericLister{},
		transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: headerTimeout},
	}
	m.proxy = &httputil.ReverseProxy{
		Transport:    m,
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "routed" },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { refuse(w, err) },
	}
	m.life, m.end = context.WithCancel(ctx)
	if err := m.watch(); err != nil {
		m.Close()
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second}
	m.tasks.Go(func() { _ = server.Serve(listener) })
	context.AfterFunc(m.life, func() { _ = server.Close() })
	return m, nil
}

// Close ends the mesh. Requests in flight are cut off.
func (m *Mesh) Close() {
	m.end()
	m.tasks.Wait()
	m.transport.CloseIdleConnections()
}

func (m *Mesh) watch() error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(m.client, 0)
	tell := func(any) {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	for _, kind := range []schema.GroupVersionResource{virtualServices, httpRoutes, services, endpointSlices} {
		informer := factory.ForResource(kind)
		m.listers[kind] = informer.Lister()
		handler := cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, now any) { tell(now) }, DeleteFunc: tell}
		if _, err := informer.Informer().AddEventHandler(handler); err != nil {
			return fmt.Errorf("watching %s: %w", kind.Resource, err)
		}
	}
	factory.Start(m.life.Done())
	for kind, synced := range factory.WaitForCacheSync(m.life.Done()) {
		if !synced {
			return fmt.Errorf("waiting for the first list of %s: %w", kind.Resource, context.Cause(m.life))
		}
	}
	m.reload()
	m.tasks.Go(func() {
		defer factory.Shutdown()
		for {
			select {
			case <-m.life.Done():
				return
			case <-m.changed:
				m.reload()
			}
		}
	})
	return nil
}

// reload makes a table of everything, and then answers for the routes that want an answer.
func (m *Mesh) reload() {
	t := &table{endpoints: m.endpoints()}
	for _, u := range m.list(virtualServices) {
		t.routes = append(t.routes, ofVirtualService(u))
	}
	type answered struct {
		route *gatewayv1.HTTPRoute
		read  route
	}
	var routes []answered
	for _, u := range m.list(httpRoutes) {
		r := &gatewayv1.HTTPRoute{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil || len(parents(r)) == 0 {
			continue
		}
		read := ofHTTPRoute(r)
		t.routes = append(t.routes, read)
		routes = append(routes, answered{route: r, read: read})
	}
	m.table.Store(t)
	for _, a := range routes {
		has := func(b backend) bool { _, there := t.endpoints[b]; return there }
		if answer(a.route, a.read, has) {
			m.write(a.route)
		}
	}
}

// write tries once: a conflict comes with news of the object, which is another try.
func (m *Mesh) write(r *gatewayv1.HTTPRoute) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err != nil {
		return
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(httpRoutes.GroupVersion().WithKind("HTTPRoute"))
	_, _ = m.client.Resource(httpRoutes).Namespace(r.Namespace).UpdateStatus(m.life, u, metav1.UpdateOptions{})
}

func (m *Mesh) list(kind schema.GroupVersionResource) []*unstructured.Unstructured {
	all, err := m.listers[kind].List(labels.Everything())
	if err != nil {
		return nil // A lister over a cache has no error.
	}
	out := make([]*unstructured.Unstructured, 0, len(all))
	for _, each := range all {
		if u, ok := each.(*unstructured.Unstructured); ok {
			out = append(out, u.DeepCopy())
		}
	}
	return out
}

// endpoints are the addresses of the ready pods behind each port of each Service. One that has a
// single port has it under 0 too.
func (m *Mesh) endpoints() map[backend][]string {
	ready := map[string][]string{} // By namespace/service/name of the port.
	for _, u := range m.list(endpointSlices) {
		var s discoveryv1.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
			continue
		}
		for _, p := range s.Ports {
			key := s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName] + "/" + *p.Name
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				for _, a := range e.Addresses {
					if ip, err := pods.Loopback(a); err == nil {
						ready[key] = append(ready[key], fmt.Sprintf("%s:%d", ip, *p.Port))
					}
				}
			}
		}
	}
	out := map[backend][]string{}
	for _, u := range m.list(services) {
		var s corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
			continue
		}
		for _, p := range s.Spec.Ports {
			addresses := ready[s.Namespace+"/"+s.Name+"/"+p.Name]
			out[backend{s.Namespace, s.Name, p.Port}] = addresses
			if len(s.Spec.Ports) == 1 {
				out[backend{s.Namespace, s.Name, 0}] = addresses
			}
		}
	}
	return out
}

// refuse answers in the mesh's own name.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set(load.GatewayErrorHeader, err.Error())
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// ServeHTTP routes one request.
func (m *Mesh) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := m.table.Load()
	rule, key, err := t.find(r)
	switch {
	case err != nil:
		refuse(w, err)
		return
	case rule.answer != 0:
		w.WriteHeader(rule.answer)
		return
	case rule.redirect != "":
		http.Redirect(w, r, rule.redirect, http.StatusMovedPermanently)
		return
	}
	to, err := m.schedules.next(key, rule.shares)
	if err != nil {
		refuse(w, err)
		return
	}
	m.copies(r, t, rule, key)
	ctx := r.Context()
	if rule.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rule.timeout)
		defer cancel()
	}
	m.proxy.ServeHTTP(w, routed(ctx, r, through{table: t, to: to, tries: 1 + rule.retries}))
}

// copies sends a request to the mirrors of its rule, and nobody sees the answers.
func (m *Mesh) copies(r *http.Request, t *table, of *rule, key string) {
	var due []backend
	for i, c := range of.copies {
		if m.schedules.due(fmt.Sprintf("%s %d", key, i), c.percent) {
			due = append(due, c.to)
		}
	}
	if len(due) == 0 {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCopied))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	if err != nil || len(body) == maxCopied {
		return
	}
	for _, to := range due {
		m.tasks.Go(func() {
			ctx, cancel := context.WithTimeout(m.life, headerTimeout)
			defer cancel()
			out := r.Clone(context.WithValue(ctx, throughKey{}, through{table: t, to: to, tries: 1}))
			out.Body, out.RequestURI = io.NopCloser(bytes.NewReader(body)), ""
			res, err := m.RoundTrip(out)
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
