package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// podIP returns a pod address that a run of these tests beside this one does not use.
func podIP(n int) string { return fmt.Sprintf("10.253.%d.%d", os.Getpid()%256, n) }

// urlOf returns where the pod with address podIP(n) is served.
func urlOf(n int) string { return "http://127." + strings.TrimPrefix(podIP(n), "10.") + ":18080" }

// podAt returns a running pod.
func podAt(name, ip, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: types.UID(name + "-uid"),
			Labels: map[string]string{releaseLabel: "cart", revisionLabel: "r1"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: 18080}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip},
	}
}

// cluster is a server under test with the client that it uses and a stream of annotations.
type cluster struct {
	*fake.Clientset
	server  *Server
	patches chan string // "name=value" for each patch of ReadyAnnotation.
}

func serve(t *testing.T, c clock.WithTicker, objects ...runtime.Object) *cluster {
	t.Helper()
	k := &cluster{Clientset: fake.NewClientset(objects...), patches: make(chan string, 100)}
	k.PrependReactor("patch", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		patch := a.(ktesting.PatchAction)
		var body struct {
			Metadata struct {
				UID         string
				Annotations map[string]string
			}
		}
		if err := json.Unmarshal(patch.GetPatch(), &body); err != nil {
			return true, nil, fmt.Errorf("reading the patch: %w", err)
		}
		if want := patch.GetName() + "-uid"; body.Metadata.UID != want {
			t.Errorf("patch of %s carries uid %q, want %q", patch.GetName(), body.Metadata.UID, want)
		}
		k.patches <- patch.GetName() + "=" + body.Metadata.Annotations[ReadyAnnotation]
		return false, nil, nil
	})
	server, err := Serve(t.Context(), Options{Client: k.Clientset, PodCIDR: "10.253.0.0/16", Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	k.server = server
	return k
}

// wantPatch waits for the next readiness that the server tells.
func (k *cluster) wantPatch(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-k.patches:
		if got != want {
			t.Fatalf("server told %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("server told nothing for 10 s, want %q", want)
	}
}

// answer is a response that was read to its end.
type answer struct {
	code   int
	header http.Header
	body   string
}

func get(t *testing.T, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func TestPodIsServedAndThenMadeReady(t *testing.T) {
	k := serve(t, nil, podAt("a", podIP(1), "shop/cart:1.2.0"))
	k.wantPatch(t, "a=true")

	res := get(t, urlOf(1)+"/cart")
	if res.code != http.StatusOK || res.header.Get("X-Revision") != "r1" || res.header.Get("X-Pod") != "a" {
		t.Errorf("got status %d, headers %v", res.code, res.header)
	}
	var got identity
	if err := json.Unmarshal([]byte(res.body), &got); err != nil {
		t.Fatal(err)
	}
	want := identity{Pod: "a", Namespace: "shop", Release: "cart", Revision: "r1", Image: "shop/cart:1.2.0", Version: "1.2.0"}
	if got != want {
		t.Errorf("echo says %+v, want %+v", got, want)
	}
}

func TestErrorsAreExactPerPodAndCounted(t *testing.T) {
	k := serve(t, nil,
		podAt("bad", podIP(2), "shop/cart:1.2.0-errors5"),
		podAt("good", podIP(3), "shop/cart:1.2.0"))
	first, second := <-k.patches, <-k.patches
	if got := []string{first, second}; !slices.Contains(got, "bad=true") || !slices.Contains(got, "good=true") {
		t.Fatalf("server told %v", got)
	}

	before := get(t, urlOf(2)+"/metrics").body
	for _, want := range []string{`http_requests_total{code="200"} 0`, `http_requests_total{code="500"} 0`} {
		if !strings.Contains(before, want) {
			t.Errorf("metrics lack %q before the first request:\n%s", want, before)
		}
	}
	failed := 0
	for range 100 {
		res := get(t, urlOf(2)+"/")
		if res.code == http.StatusInternalServerError {
			failed++
		}
		if res.header.Get("X-Revision") != "r1" {
			t.Fatal("an answer names no revision")
		}
		if res := get(t, urlOf(3)+"/"); res.code != http.StatusOK {
			t.Fatalf("the good pod answered %d", res.code)
		}
	}
	if failed != 5 {
		t.Errorf("%d of 100 requests failed, want 5", failed)
	}
	after := get(t, urlOf(2)+"/metrics").body
	for _, want := range []string{
		`http_requests_total{code="200"} 95`, `http_requests_total{code="500"} 5`,
		`http_request_duration_seconds_count 100`, `http_request_duration_seconds_bucket{le="0.005"}`,
	} {
		if !strings.Contains(after, want) {
			t.Errorf("metrics lack %q after 100 requests:\n%s", want, after)
		}
	}
}

func TestLatencyIsAddedAndMeasured(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Unix(0, 0))
	k := serve(t, c, podAt("slow", podIP(4), "shop/cart:1-latency200ms"))
	k.wantPatch(t, "slow=true")

	answered := make(chan int, 1)
	go func() {
		res := get(t, urlOf(4)+"/")
		answered <- res.code
	}()
	waitFor(t, "the request to wait", c.HasWaiters)
	c.Step(200 * time.Millisecond)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("status %d", code)
	}
	if m := get(t, urlOf(4)+"/metrics").body; !strings.Contains(m, "http_request_duration_seconds_sum 0.2") {
		t.Errorf("the histogram did not measure 0.2 s:\n%s", m)
	}
}

func TestServerEndsWithItsPodAfterTheRequestInFlight(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Unix(0, 0))
	pod := podAt("old", podIP(5), "shop/cart:1-latency1s")
	k := serve(t, c, pod)
	k.wantPatch(t, "old=true")

	terminating := pod.DeepCopy()
	terminating.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	terminating.Finalizers = []string{"test/hold"}
	if _, err := k.CoreV1().Pods("shop").Update(t.Context(), terminating, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() { // A pod that is terminating still serves.
		res := get(t, urlOf(5)+"/")
		answered <- res.code
	}()
	waitFor(t, "the request to wait", c.HasWaiters)

	if err := k.CoreV1().Pods("shop").Delete(t.Context(), "old", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the address to be free", func() bool {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", strings.TrimPrefix(urlOf(5), "http://"))
		if err != nil {
			return false
		}
		return l.Close() == nil
	})
	select {
	case code := <-answered:
		t.Fatalf("the request in flight ended early with %d", code)
	default:
	}
	c.Step(time.Second)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the request in flight got %d, want 200", code)
	}
}

func TestAddressIsTakenOverByTheNextPod(t *testing.T) {
	k := serve(t, nil, podAt("first", podIP(6), "shop/cart:1"))
	k.wantPatch(t, "first=true")
	if _, err := k.CoreV1().Pods("shop").Create(t.Context(), podAt("second", podIP(6), "shop/cart:2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.CoreV1().Pods("shop").Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.wantPatch(t, "second=true")
	if res := get(t, urlOf(6)+"/"); res.header.Get("X-Pod") != "second" {
		t.Errorf("%s answers, want second", res.header.Get("X-Pod"))
	}
}

func TestPodsOfOthersAndPodsNotRunningAreLeftAlone(t *testing.T) {
	pending := podAt("pending", "", "shop/cart:1")
	pending.Status.Phase = corev1.PodPending
	done := podAt("done", podIP(8), "shop/cart:1")
	done.Status.Phase = corev1.PodSucceeded
	k := serve(t, nil, pending, done, podAt("foreign", "10.252.0.7", "shop/cart:1"), podAt("own", podIP(7), "shop/cart:1"))
	k.wantPatch(t, "own=true")
	if n := k.server.Serving(); n != 1 {
		t.Errorf("%d pods are served, want 1", n)
	}
}

func TestAnnotatedPodIsNotPatchedAgain(t *testing.T) {
	known := podAt("known", podIP(9), "shop/cart:1")
	known.Annotations = map[string]string{ReadyAnnotation: "true"}
	k := serve(t, nil, known)
	waitFor(t, "the pod to be served", func() bool { return k.server.Serving() == 1 })
	k.server.Close()
	if len(k.patches) > 0 {
		t.Errorf("a pod that is known to be ready was patched: %s", <-k.patches)
	}
}

func TestPatchThatFailsIsRetried(t *testing.T) {
	k := &cluster{Clientset: fake.NewClientset(podAt("a", podIP(10), "shop/cart:1")), patches: make(chan string, 10)}
	var once sync.Once
	k.PrependReactor("patch", "pods", func(ktesting.Action) (bool, runtime.Object, error) {
		refused := false
		once.Do(func() { refused = true })
		if refused {
			return true, nil, errors.New("try again")
		}
		k.patches <- "a=true"
		return false, nil, nil
	})
	server, err := Serve(t.Context(), Options{Client: k.Clientset, PodCIDR: "10.253.0.0/16"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	k.wantPatch(t, "a=true")
}

func TestServeRefusesWrongOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no cluster at all":     {},
		"a CIDR that is no one": {Client: fake.NewClientset(), PodCIDR: "10.64.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Serve(t.Context(), o); err == nil {
				t.Error("Serve took it")
			}
		})
	}
}

func TestReadinessFollowsTheTag(t *testing.T) {
	type told struct {
		at    time.Duration
		ready bool
	}
	for name, tc := range map[string]struct {
		image string
		want  []told
	}{
		"a plain pod is ready at once":     {"cart:1", []told{{0, true}}},
		"a slow start delays readiness":    {"cart:1-slowstart3s", []told{{3 * time.Second, true}}},
		"never ready is never told":        {"cart:1-neverready", nil},
		"a crash ends readiness":           {"cart:1-crash10s", []told{{0, true}, {10 * time.Second, false}}},
		"a crash counts from readiness":    {"cart:1-slowstart3s-crash10s", []told{{3 * time.Second, true}, {13 * time.Second, false}}},
		"never ready wins over the others": {"cart:1-slowstart3s-neverready-crash1s", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p := &podServer{clock: clock.RealClock{}}
				p.life, p.end = context.WithTimeout(t.Context(), time.Minute)
				defer p.end()
				p.identity.Store(identify(podAt("a", podIP(11), tc.image)))

				var got []told
				p.live(func(_ context.Context, ready bool) error {
					got = append(got, told{time.Since(start), ready})
					return nil
				}, func(err error) { t.Error(err) })
				if !slices.Equal(got, tc.want) {
					t.Errorf("told %v, want %v", got, tc.want)
				}
			})
		})
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
