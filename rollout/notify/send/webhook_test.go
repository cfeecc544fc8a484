package send

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
)

// verified checks a request as the specification of Standard Webhooks tells receivers to,
// written without the code that signs.
func verified(got recorded, secret string) error {
	id, at := got.header.Get("webhook-id"), got.header.Get("webhook-timestamp")
	if id == "" || at != fmt.Sprint(noon.Unix()) {
		return fmt.Errorf("id %q, timestamp %q", id, at)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, got.body)
	want := mac.Sum(nil)
	for s := range strings.SplitSeq(got.header.Get("webhook-signature"), " ") {
		version, encoded, ok := strings.Cut(s, ",")
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && version == "v1" && subtle.ConstantTimeCompare(sum, want) == 1 {
			return nil
		}
	}
	return fmt.Errorf("no signature fits: %q", got.header.Get("webhook-signature"))
}

// key makes a signing key of one letter.
func key(letter string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// decoded reads a request by the SDK.
func decoded(t *testing.T, got recorded) *cloudevents.Event {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(got.body)))
	r.Header = got.header
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	return e
}

func TestAServerGetsASignedCloudEvent(t *testing.T) {
	for _, mode := range []rules.Mode{rules.Structured, rules.Binary} {
		t.Run(string(mode), func(t *testing.T) {
			s := serve(t, true, 202, nil, "")
			bus := sender(t, rules.Sink{Webhook: &rules.Webhook{URL: s.URL + "/tidegate", Mode: mode, SigningKey: "hmac", TokenKey: "token", CABundle: s.authority()}})
			if err := bus.Send(t.Context(), held(), having(map[string]string{"hmac": key("a") + "\n" + key("b"), "token": "hunter2"})); err != nil {
				t.Fatal(err)
			}
			got := s.only(t)
			for _, k := range []string{key("a"), key("b")} {
				if err := verified(got, k); err != nil {
					t.Error(err)
				}
			}
			if verified(got, key("c")) == nil {
				t.Error("any key verifies it")
			}
			forged := got
			forged.body = []byte(strings.Replace(string(got.body), "cart", "pay", 1))
			if verified(forged, key("a")) == nil {
				t.Error("another body is verified")
			}
			if got.header.Get("Authorization") != "Bearer hunter2" || got.path != "/tidegate" {
				t.Errorf("the request: %s %v", got.path, got.header)
			}
			if structured := strings.HasPrefix(got.header.Get("Content-Type"), "application/cloudevents+json"); structured != (mode == rules.Structured) {
				t.Errorf("the content type is %s", got.header.Get("Content-Type"))
			}
			isTheEvent(t, decoded(t, got), got.header.Get("webhook-id"))
		})
	}
}

func isTheEvent(t *testing.T, e *cloudevents.Event, id string) {
	t.Helper()
	if e.SpecVersion() != "1.0" || e.ID() != held().ID || e.ID() != id || e.Type() != "io.tidegate.rollout.held.v1" || e.Subject() != "cart-7" ||
		e.Source() != "/clusters/eu-1/namespaces/shop/releases/cart" || !e.Time().Equal(noon) || e.DataContentType() != "application/json" ||
		e.Extensions()["severity"] != "warning" || e.Extensions()["code"] != "TG-HOLD-NODATA" {
		t.Errorf("the attributes: %v", e)
	}
	var data Data
	if err := e.DataAs(&data); err != nil {
		t.Fatal(err)
	}
	if data.Kind != news.Held || data.Message != held().Why || data.Remedy != held().Remedy || data.Release.Name != "cart" || data.Rollout.Revision != "0123456789" ||
		data.Rollout.Step != 1 || data.Rollout.Steps != 3 || data.Rollout.Weight != 20 || data.Labels["team"] != "payments" || data.Cluster != "eu-1" || data.Title == "" {
		t.Errorf("the data: %+v", data)
	}
}

func TestAStepsOwnWordsAreItsMessage(t *testing.T) {
	s := serve(t, false, 200, nil, "")
	bus := sender(t, rules.Sink{Webhook: &rules.Webhook{URL: s.URL}})
	e := held()
	e.Kind, e.Code, e.Why, e.Text = news.Notify, "", "", "half of it is there"
	if err := bus.Send(t.Context(), e, having(nil)); err != nil {
		t.Fatal(err)
	}
	got := s.only(t)
	var data Data
	if err := decoded(t, got).DataAs(&data); err != nil || data.Message != "half of it is there" {
		t.Errorf("%+v, %v", data, err)
	}
	if got.header.Get("webhook-signature") != "" || got.header.Get("Authorization") != "" {
		t.Errorf("nobody asked for a signature or a token: %v", got.header)
	}
}

func TestASecretCanBeReplacedWhileTheSenderLives(t *testing.T) {
	s := serve(t, true, 200, nil, "")
	values := map[string]string{"hmac": key("a"), "url": s.URL + "/a"}
	bus := sender(t, rules.Sink{Webhook: &rules.Webhook{URLKey: "url", SigningKey: "hmac", CABundle: s.authority()}})
	for _, letter := range []string{"a", "b"} {
		values["hmac"], values["url"] = key(letter), s.URL+"/"+letter
		if err := bus.Send(t.Context(), held(), having(values)); err != nil {
			t.Fatal(err)
		}
		last := s.seen[len(s.seen)-1]
		if err := verified(last, key(letter)); err != nil || last.path != "/"+letter {
			t.Errorf("%s: %v", last.path, err)
		}
	}
}

func TestAServerThatCannotBeUsedIsExplainedWithoutSecrets(t *testing.T) {
	trusted, stranger := serve(t, true, 200, nil, ""), serve(t, true, 200, nil, "")
	closed := serve(t, false, 200, nil, "")
	closed.Close()
	for name, c := range map[string]struct {
		webhook rules.Webhook
		want    string
		final   bool
	}{
		"another authority":        {rules.Webhook{URL: stranger.URL, CABundle: other}, "certificate is not trusted", false},
		"no authority of its own":  {rules.Webhook{URL: trusted.URL}, "certificate is not trusted", false},
		"nobody is there":          {rules.Webhook{URL: closed.URL}, "the connection was refused", false},
		"a host that is not there": {rules.Webhook{URLKey: "url"}, "cannot be resolved", false},
		"a key that is no URL":     {rules.Webhook{URLKey: "none"}, "key none of the Secret: wanted a URL", true},
		"a key that is short":      {rules.Webhook{URL: trusted.URL, SigningKey: "short"}, "wanted signing keys of at least 24 bytes, found one of 7", true},
		"a key that is no base64":  {rules.Webhook{URL: trusted.URL, SigningKey: "base64"}, "wanted base64 behind whsec_", true},
		"no signing key":           {rules.Webhook{URL: trusted.URL, SigningKey: "gone"}, "there is no key gone", false},
		"no token":                 {rules.Webhook{URL: trusted.URL, TokenKey: "gone"}, "there is no key gone", false},
		"a token of two lines":     {rules.Webhook{URL: trusted.URL, TokenKey: "lines"}, "wanted one line of characters that print in the key lines of the Secret, found others", true},
	} {
		t.Run(name, func(t *testing.T) {
			c.webhook.Mode = rules.Structured
			secrets := having(map[string]string{"url": "https://hunter2.invalid/hunter2", "none": "hunter2", "short": "hunter2", "lines": "hunter2\nhunter3", "base64": "whsec_hunter2!"})
			err := failure(t, sender(t, rules.Sink{Webhook: &c.webhook}).Send(t.Context(), held(), secrets), "hunter2")
			if !strings.Contains(err.What, c.want) || err.Final != c.final {
				t.Errorf("wanted %q, got %+v", c.want, err)
			}
		})
	}
}

func TestASenderIsMadeOfASinkThatIsOne(t *testing.T) {
	if _, err := New(&rules.Sink{}, "", nil); err == nil {
		t.Error("a sink of no kind was taken")
	}
	if _, err := New(&rules.Sink{Webhook: &rules.Webhook{CABundle: "nonsense"}}, "", nil); err == nil {
		t.Error("authorities that are none were taken")
	}
}

// other is an authority that nobody in these tests has a certificate of.
const other = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUeUmHQst2aFq6rTyByiLYVJxc3wcwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIzMTU1MTQ0WhgPMjEyNjEwMzAxNTUx
NDRaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
v5cbptSTrvoKH3sH4zhMVYVXMGfkPjX4KMWMrmNmR7c/umryQx5NcbIhQbTiegrM
V6qMz7/rrFCr5nzMfmrFV6NTMFEwHQYDVR0OBBYEFBGe5q/tSAYY1zKhugRg/sdm
FQHnMB8GA1UdIwQYMBaAFBGe5q/tSAYY1zKhugRg/sdmFQHnMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKWaGAwyxocpR3mlb+IMpwyYfrJMBf3p
bRWkpg80+5LHAiBtZgn65fS2Jp1jl0GdxyBw0+kL9nP3x/YgEwbypoyQ0w==
-----END CERTIFICATE-----
`
