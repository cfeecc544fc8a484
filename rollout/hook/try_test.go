package hook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/hook"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const passed, final, again = "passed", "final", "again"
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		want   string
		// message is what it must say; exactly where it ends with a full stop.
		message string
	}{
		"200 lets pass":                   {says(200, "fine"), passed, "answered 200: fine"},
		"204 lets pass":                   {says(204, ""), passed, "answered 204"},
		"a refusal is final":              {says(403, "the error rate is 4 %"), final, "answered 403: the error rate is 4 %"},
		"404 is final":                    {says(404, ""), final, "answered 404"},
		"a redirect is final":             {says(302, "elsewhere"), final, "answered 302, a redirect, which is not followed; give the address that it leads to"},
		"304 is final":                    {says(304, ""), final, "answered 304, a redirect, which is not followed; give the address that it leads to"},
		"408 is tried again":              {says(408, ""), again, "answered 408"},
		"425 is tried again":              {says(425, ""), again, "answered 425"},
		"429 is tried again":              {says(429, "slower"), again, "answered 429: slower"},
		"500 is tried again":              {says(500, "oops"), again, "answered 500: oops"},
		"503 is tried again":              {says(503, ""), again, "answered 503"},
		"599 is tried again":              {says(599, ""), again, "answered 599"},
		"lines and colours are made text": {says(403, "a\x1b[31m\r\n\tb\u202e\xffc"), final, "answered 403: a [31m b c"},
		"a huge answer is cut":            {says(403, strings.Repeat("x", 32<<20)), final, "answered 403: " + strings.Repeat("x", 500)},
		"a connection that breaks is tried again": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, again,
			"the connection failed; see that the server runs and that network policies let the manager reach it",
		},
		"a huge header is tried again": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, again,
			"the connection failed; see that the server runs and that network policies let the manager reach it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.ask(calling(trusted(w.serve(c.handle))), check)
			got := map[bool]string{true: passed, false: again}[a.Passed]
			if a.Final {
				got += final
				got = strings.TrimPrefix(got, again)
			}
			if got != c.want || a.Message != c.message {
				t.Errorf("wanted %s, %q; found %s, %q", c.want, c.message, got, a.Message)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	led := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(led.Close)
	s := w.serve(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, led.URL, http.StatusTemporaryRedirect)
	})
	if a := w.ask(calling(trusted(s)), check); a.Passed || !a.Final {
		t.Errorf("found %+v", a)
	}
}

func TestHangIsEndedByTheTimeout(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"before the header": func(_ http.ResponseWriter, r *http.Request) { hang(r) },
		"within the body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "wait")
			_ = http.NewResponseController(w).Flush()
			hang(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := trusted(w.serve(handle))
			h.Timeout = metav1.Duration{Duration: 200 * time.Millisecond}
			a := w.ask(calling(h), check)
			if a.Passed || a.Final || (a.Message != "there was no answer in time" && a.Message != "answered 503: wait") {
				t.Errorf("found %+v", a)
			}
		})
	}
}

// hang lasts until the caller has gone.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	const untrusted = "the server's certificate is not trusted, or is for another name; give the authority that signed it"
	for name, c := range map[string]struct {
		edit func(*world, *httptest.Server, *v1alpha1.Hook)
		want string
	}{
		"the authority of the Secret is trusted": {func(*world, *httptest.Server, *v1alpha1.Hook) {}, ""},
		"without one the system's are":           {func(_ *world, _ *httptest.Server, h *v1alpha1.Hook) { h.CASecretRef = nil }, untrusted},
		"another name is not": {func(_ *world, _ *httptest.Server, h *v1alpha1.Hook) {
			h.URL = strings.Replace(h.URL, "127.0.0.1", "localhost", 1)
		}, untrusted},
		"no certificate in the Secret is told": {func(w *world, _ *httptest.Server, _ *v1alpha1.Hook) {
			w.secret("ca", corev1.SecretTypeOpaque, map[string]string{"ca.crt": "none"})
		}, "caSecretRef: wanted certificates in PEM in key ca.crt of the Secret tidegate-system/ca, found none that can be read; put the authority's certificate there"},
		"a Secret that is not there is told": {
			func(_ *world, _ *httptest.Server, h *v1alpha1.Hook) { h.CASecretRef = ref("gone", "ca.crt") },
			"caSecretRef: there is no Secret tidegate-system/gone; create it with the key ca.crt",
		},
		"TLS 1.1 is not spoken": {
			func(_ *world, s *httptest.Server, _ *v1alpha1.Hook) {
				s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			},
			"the connection failed; see that the server runs and that network policies let the manager reach it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := httptest.NewUnstartedServer(says(200, ""))
			s.StartTLS()
			t.Cleanup(s.Close)
			w.secret("ca", corev1.SecretTypeOpaque, map[string]string{"ca.crt": authority(s)})
			h := trusted(s)
			c.edit(w, s, &h)
			a := w.ask(calling(h), check)
			if a.Passed != (c.want == "") || a.Final || c.want != "" && a.Message != c.want {
				t.Errorf("wanted %q, found %+v", c.want, a)
			}
		})
	}
}

// verify checks a request as the page of Standard Webhooks says.
func verify(r *http.Request, body []byte, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, r.Header.Get("webhook-id")+"."+r.Header.Get("webhook-timestamp")+"."+string(body))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for found := range strings.SplitSeq(r.Header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(found), []byte(want)) {
			return true
		}
	}
	return false
}

func TestSignature(t *testing.T) {
	t.Parallel()
	const key2 = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1Z3mX+q8Nn4="
	w := newWorld(t)
	accepted := key1
	s := w.serve(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !verify(r, body, accepted) {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	})
	h := trusted(s)
	h.SecretRef = ref("keys", "hmac")
	for i, c := range []struct {
		name, stored, accepted string
		want                   bool
	}{
		{"the right key", key1, key1, true},
		{"both keys while one replaces the other", key1 + "\n" + key2 + "\n", key2, true},
		{"and the old one still", key1 + "\n" + key2, key1, true},
		{"a key that was replaced signs no more", key2, key1, false},
	} {
		w.secret("keys", corev1.SecretTypeOpaque, map[string]string{"hmac": c.stored})
		accepted = c.accepted
		which := check
		which.Try = int32(i + 1)
		if a := w.ask(calling(h), which); a.Passed != c.want {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	const short = "not-long-enough"
	w := newWorld(t)
	s := w.serve(func(http.ResponseWriter, *http.Request) { t.Error("called without its signature") })
	w.secret("short", corev1.SecretTypeOpaque, map[string]string{"hmac": short})
	w.secret("account", corev1.SecretTypeServiceAccountToken, map[string]string{"token": key1})
	for i, c := range []struct {
		ref  *v1alpha1.KeyReference
		want string
	}{
		{ref("gone", "hmac"), "secretRef: there is no Secret tidegate-system/gone; create it with the key hmac"},
		{ref("short", "other"), "secretRef: wanted the key other in the Secret tidegate-system/short, found nothing; add it"},
		{ref("short", "hmac"), "secretRef: key hmac of the Secret tidegate-system/short: wanted signing keys of at least 24 bytes, found one of 15; make one with: openssl rand -base64 32"},
		{ref("account", "token"), "secretRef: wanted the Secret tidegate-system/account to be of type Opaque, found kubernetes.io/service-account-token; make one for hooks"},
	} {
		h := trusted(s)
		h.SecretRef = c.ref
		which := check
		which.Try = int32(i + 1)
		a := w.ask(calling(h), which)
		if a.Passed || a.Final || a.Message != c.want {
			t.Errorf("wanted %q, found %+v", c.want, a)
		}
		if strings.Contains(a.Message, short) || strings.Contains(a.Message, key1) {
			t.Errorf("the key is in the message %q", a.Message)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	called := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
	t.Cleanup(s.Close)
	if a := newWorld(t).ask(calling(v1alpha1.Hook{URL: s.URL}), check); !a.Passed {
		t.Errorf("with the flag: %+v", a)
	}
	w := newWorld(t, func(o *hook.Options) { o.AllowPlain = false })
	if a := w.ask(calling(v1alpha1.Hook{URL: s.URL}), check); a.Passed || !a.Final || called != 1 ||
		a.Message != "wanted https, found http, over which anybody on the way may answer; serve the hook with TLS, or start the manager with --allow-plain-hooks" {
		t.Errorf("without: %+v, called %d times", a, called)
	}
}

func TestAddressIsLookedAtBehindItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *hook.Options) { o.Addresses = hook.Addresses{} })
	s := w.serve(func(http.ResponseWriter, *http.Request) { t.Error("connected to an address that is refused") })
	for i, host := range []string{"127.0.0.1", "localhost"} {
		h := trusted(s)
		h.URL = strings.Replace(h.URL, "127.0.0.1", host, 1)
		which := check
		which.Try = int32(i + 1)
		a := w.ask(calling(h), which)
		if a.Passed || !a.Final || !strings.Contains(a.Message, "the manager's own loopback address, which hooks do not call") {
			t.Errorf("%s: %+v", host, a)
		}
	}
	api := newWorld(t, func(o *hook.Options) {
		o.Addresses.Allowed = nil
		o.Addresses.Refused = []netip.AddrPort{netip.MustParseAddrPort(s.Listener.Addr().String())}
	})
	api.secret("ca", corev1.SecretTypeOpaque, map[string]string{"ca.crt": authority(s)})
	if a := api.ask(calling(trusted(s)), plan.Call{Hook: "smoke", Try: 1}); !a.Final || !strings.Contains(a.Message, "the API server, which") {
		t.Errorf("the API server: %+v", a)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	a := hook.Addresses{
		Allowed: []netip.Prefix{netip.MustParsePrefix("169.254.20.0/24")},
		Refused: []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443")},
	}
	for _, address := range []string{
		"169.254.169.254:80", "169.254.0.1:443", "[fe80::1]:443", "[fe80::1%eth0]:443", "127.0.0.1:443", "127.9.9.9:1", "[::1]:443", "0.0.0.0:443", "[::]:443",
		"[::ffff:169.254.169.254]:80", "[::ffff:127.0.0.1]:80", "[64:ff9b::a9fe:a9fe]:80", "[64:ff9b::7f00:1]:80", "[2002:a9fe:a9fe::1]:80", "[::169.254.169.254]:80",
		"224.0.0.1:443", "[ff02::1]:443", "255.255.255.255:443", "[fd00:ec2::254]:80", "[fd20:ce::254]:80", "[fd00:42::42]:80", "[fd00:c1::a9fe:a9fe]:80", "[fd00:a9fe:a9fe::1]:80", "[fd00:100::100:200]:80",
		"[::ffff:0:169.254.169.254]:80", "168.63.129.16:80", "100.100.100.200:80", "192.0.0.192:80",
		"10.96.0.1:443", "[::ffff:10.96.0.1]:443", "[64:ff9b::a60:1]:443",
	} {
		if err := a.Refuses(netip.MustParseAddrPort(address)); err == nil {
			t.Errorf("wanted %s to be refused", address)
		}
	}
	for _, address := range []string{
		"10.0.0.7:443", "192.168.1.1:443", "8.8.8.8:443", "[2001:db8::1]:443", "[fd12::1]:443", "10.96.0.1:8443", "169.254.20.10:443", "[64:ff9b::808:808]:443",
	} {
		if err := a.Refuses(netip.MustParseAddrPort(address)); err != nil {
			t.Errorf("wanted %s to be called, found %v", address, err)
		}
	}
}
