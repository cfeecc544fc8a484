package hook_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/rollout/hook"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	home = "tidegate-system"
	key1 = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// limit bounds every wait.
const limit = 30 * time.Second

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// at is when the status says that the call was begun.
var at = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// world is a Caller, and what it reads.
type world struct {
	*testing.T
	*hook.Caller
	secrets  client.Client
	answered chan client.ObjectKey
}

// newWorld starts a Caller that may call this machine, with edits of its options.
func newWorld(t *testing.T, edits ...func(*hook.Options)) *world {
	t.Helper()
	w := &world{T: t, secrets: fake.NewClientBuilder().Build(), answered: make(chan client.ObjectKey, 1000)}
	o := hook.Options{
		Secrets: w.secrets, Namespace: home, Clock: clock.RealClock{}, Metrics: hook.NewMetrics(), Log: testr.New(t), AllowPlain: true,
		Addresses: hook.Addresses{Allowed: loopback},
	}
	for _, edit := range edits {
		edit(&o)
	}
	var err error
	if w.Caller, err = hook.New(o); err != nil {
		t.Fatal(err)
	}
	w.OnAnswer(func(key client.ObjectKey) { w.answered <- key })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Start(t.Context())
	}()
	t.Cleanup(func() { <-ended })
	return w
}

// warm returns once calls are made at once: the first one has its answer.
func (w *world) warm() {
	w.Helper()
	w.ask(named(-1, v1alpha1.Hook{URL: "https://nowhere.invalid", CASecretRef: ref("gone", "gone")}), check)
	w.Forget(client.ObjectKeyFromObject(named(-1, v1alpha1.Hook{})))
}

// secret makes a Secret of the manager's namespace be as given.
func (w *world) secret(name string, kind corev1.SecretType, data map[string]string) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: home}, Type: kind, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	_ = w.secrets.Delete(w.Context(), s.DeepCopy())
	if err := w.secrets.Create(w.Context(), s); err != nil {
		w.Fatal(err)
	}
}

// ask begins a call and waits for its answer.
func (w *world) ask(rollout *v1alpha1.Rollout, which plan.Call) plan.Answer {
	w.Helper()
	w.Call(rollout, which)
	if a := w.find(rollout, which); a != nil && a.Done {
		return *a
	}
	w.await()
	a := w.find(rollout, which)
	if a == nil || !a.Done {
		w.Fatalf("told of an answer, and found %+v", a)
	}
	return *a
}

// await waits until somebody is told of an answer.
func (w *world) await() client.ObjectKey {
	w.Helper()
	select {
	case key := <-w.answered:
		return key
	case <-time.After(limit):
		w.Fatal("no answer")
	}
	return client.ObjectKey{}
}

func (w *world) find(rollout *v1alpha1.Rollout, which plan.Call) *plan.Answer {
	for _, a := range w.Answers(rollout) {
		if a.Call == which {
			return &a
		}
	}
	return nil
}

// check is a call that the first step makes.
var check = plan.Call{Hook: "smoke", Event: v1alpha1.HookStepEvent, Step: 1, Try: 1}

// calling is a Rollout that waits for check.
func calling(h v1alpha1.Hook, edits ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	h.Name = "smoke"
	five, all := int32(5), int32(100)
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-7", UID: "0b64c3f0-1111-4222-8333-944455556666"},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: 7, Revision: "bbbbbbbbbb", Digest: "sha256:b2", TemplateRevision: "web-3-abc", Replicas: 4,
			Stable: &v1alpha1.StableReference{Rollout: "cart-6", Revision: "aaaaaaaaaa", Replicas: 4},
			Strategy: v1alpha1.Strategy{
				Type: v1alpha1.StrategyCanary, Hooks: []v1alpha1.Hook{h},
				Steps: []v1alpha1.Step{{SetWeight: &five}, {SetWeight: &all}},
			},
		},
		Status: v1alpha1.RolloutStatus{
			Phase: v1alpha1.RolloutProgressing, Step: 1,
			Checks: []v1alpha1.Check{pending(check)},
		},
	}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

// pending is the record of a call that is waited for.
func pending(c plan.Call) v1alpha1.Check {
	return v1alpha1.Check{Step: c.Step, Hook: c.Hook, Event: c.Event, Tries: c.Try, Outcome: v1alpha1.CheckPending, At: metav1.NewMicroTime(at)}
}

// serve starts a server with TLS, of which the Secret ca has the authority.
func (w *world) serve(handle http.HandlerFunc) *httptest.Server {
	w.Helper()
	s := httptest.NewTLSServer(handle)
	w.Cleanup(s.Close)
	w.secret("ca", corev1.SecretTypeOpaque, map[string]string{"ca.crt": authority(s)})
	return s
}

func authority(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func ref(name, key string) *v1alpha1.KeyReference {
	return &v1alpha1.KeyReference{Name: name, Key: key}
}

// trusted is a hook at a server of this world.
func trusted(s *httptest.Server) v1alpha1.Hook {
	return v1alpha1.Hook{URL: s.URL, CASecretRef: ref("ca", "ca.crt"), Timeout: metav1.Duration{Duration: limit}}
}
