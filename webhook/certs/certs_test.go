package certs

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

var (
	epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	where = types.NamespacedName{Namespace: "tidegate-system", Name: DefaultSecret}
)

// issue makes the data of the Secret, as cert-controller does.
func issue(t *testing.T, host string, end time.Time) map[string][]byte {
	t.Helper()
	cr := &rotator.CertRotator{CAName: "tidegate-ca", CAOrganization: "tidegate", DNSName: host, ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	ca, err := cr.CreateCACert(epoch.Add(-time.Hour), end)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := cr.CreateCertPEM(ca, epoch.Add(-time.Hour), end)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{keyCA: ca.CertPEM, keyCert: cert, keyPrivate: key}
}

func secret(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: where.Namespace, Name: where.Name}, Data: data}
}

func served(t *testing.T, c *Certs) string {
	t.Helper()
	cert, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatalf("GetCertificate: %v", err)
	}
	return cert.Leaf.DNSNames[0]
}

func TestTheServedCertificateFollowsTheSecret(t *testing.T) {
	t.Parallel()
	injected := make(chan struct{})
	clock := clocktesting.NewFakePassiveClock(epoch)
	c := newCerts(logr.Discard(), where, injected, clock)
	changes := 0
	c.OnChange(func() { changes++ })

	if _, err := c.GetCertificate(nil); err == nil {
		t.Error("a certificate was served before there was one")
	}
	if err := c.Ready(&http.Request{}); err == nil || c.CABundle() != nil {
		t.Errorf("ready before there was a certificate: %v", err)
	}

	c.observe(secret(nil)) // as the chart makes it
	first := issue(t, "first.example", epoch.Add(time.Hour))
	other := secret(first)
	other.Name = "another"
	c.observe(other)
	if changes != 0 {
		t.Fatal("an empty or foreign Secret was taken over")
	}

	c.observe(secret(first))
	if got := served(t, c); got != "first.example" || changes != 1 || string(c.CABundle()) != string(first[keyCA]) {
		t.Errorf("serving %s after %d changes", got, changes)
	}
	if err := c.Ready(nil); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("ready before the authority was injected: %v", err)
	}
	close(injected)
	if err := c.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}

	c.observe(secret(first)) // a resync
	if changes != 1 {
		t.Errorf("a resync counted as a change")
	}

	second := issue(t, "second.example", epoch.Add(3*time.Hour))
	c.observe(secret(second))
	if got := served(t, c); got != "second.example" || changes != 2 {
		t.Errorf("after the rotation: serving %s after %d changes", got, changes)
	}

	clock.SetTime(epoch.Add(4 * time.Hour))
	if err := c.Ready(nil); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("ready with an expired certificate: %v", err)
	}
}

func TestASecretThatCannotBeServedLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	good := issue(t, "good.example", epoch.Add(time.Hour))
	strange := issue(t, "strange.example", epoch.Add(time.Hour))
	cases := map[string]map[string][]byte{
		"a key that is not the certificate's": {keyCA: good[keyCA], keyCert: good[keyCert], keyPrivate: strange[keyPrivate]},
		"another authority's leaf":            {keyCA: good[keyCA], keyCert: strange[keyCert], keyPrivate: strange[keyPrivate]},
		"no authority":                        {keyCert: strange[keyCert], keyPrivate: strange[keyPrivate]},
		"an authority that is no certificate": {keyCA: strange[keyPrivate], keyCert: strange[keyCert], keyPrivate: strange[keyPrivate]},
		"nonsense":                            {keyCert: []byte("nonsense")},
		"a deleted key":                       {},
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCerts(logr.Discard(), where, nil, clocktesting.NewFakePassiveClock(epoch))
			c.observe(secret(good))
			c.observe(secret(data))
			if got := served(t, c); got != "good.example" {
				t.Errorf("serving %s", got)
			}
		})
	}
}

func TestTheLeafCarriesTheNameThatTheAPIServerChecksFirst(t *testing.T) {
	t.Parallel()
	service := []string{"tidegate-webhook.ns.svc", "tidegate-webhook.ns.svc.cluster.local", "tidegate-webhook.ns"}
	cases := map[string]struct {
		url   string
		want  []string
		wrong string
	}{
		"by Service":              {want: service},
		"by URL":                  {url: "https://localhost:9443", want: append([]string{"localhost"}, service...)},
		"by URL with a path":      {url: "https://gate.example/tide", want: append([]string{"gate.example"}, service...)},
		"by an IPv4 address":      {url: "https://127.0.0.1:9443", wrong: "localhost"},
		"by an IPv6 address":      {url: "https://[::1]:9443", wrong: "host name"},
		"without TLS":             {url: "http://localhost", wrong: "https://HOST:PORT"},
		"without a host":          {url: "https://", wrong: "https://HOST:PORT"},
		"with a user":             {url: "https://u@localhost", wrong: "no user"},
		"with a query":            {url: "https://localhost?x=y", wrong: "query"},
		"with something unparsed": {url: "https://local host", wrong: "reading"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Namespace: "ns", URL: tc.url}
			if err := o.complete(); err != nil {
				t.Fatal(err)
			}
			got, err := o.names()
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("error %v, wanted one with %q", err, tc.wrong)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%v, %v; wanted %v", got, err, tc.want)
			}
		})
	}
	if err := (&Options{}).complete(); err == nil {
		t.Error("no namespace was accepted")
	}
}
