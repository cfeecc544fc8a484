package pki

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

func leaf(t *testing.T, p Pair, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatalf("certificate and key do not belong together: %v", err)
	}
	return c.Leaf
}

func TestLeavesVerifyAgainstTheirOwnAuthorityAlone(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ours, err := NewAuthority("ours", now)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := NewAuthority("theirs", now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ours.Client("alice", []string{"team-cart", "team-shop"}, now)
	alice := leaf(t, p, err)
	p, err = ours.Server("apiserver", []string{"127.0.0.1", "kubernetes.default.svc"}, now)
	server := leaf(t, p, err)

	if alice.Subject.CommonName != "alice" || !slices.Equal(alice.Subject.Organization, []string{"team-cart", "team-shop"}) {
		t.Errorf("subject %v", alice.Subject)
	}
	for name, tc := range map[string]struct {
		cert  *x509.Certificate
		by    *Authority
		usage x509.ExtKeyUsage
		host  string
		at    time.Time
		ok    bool
	}{
		"a user logs in":                       {alice, ours, x509.ExtKeyUsageClientAuth, "", now, true},
		"a user cannot play the server":        {alice, ours, x509.ExtKeyUsageServerAuth, "", now, false},
		"a user of another cluster is unknown": {alice, theirs, x509.ExtKeyUsageClientAuth, "", now, false},
		"a user expires":                       {alice, ours, x509.ExtKeyUsageClientAuth, "", now.Add(validity + time.Hour), false},
		"a server is known by address":         {server, ours, x509.ExtKeyUsageServerAuth, "127.0.0.1", now, true},
		"a server is known by name":            {server, ours, x509.ExtKeyUsageServerAuth, "kubernetes.default.svc", now, true},
		"a server is not known by others":      {server, ours, x509.ExtKeyUsageServerAuth, "example.com", now, false},
	} {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(tc.by.CertPEM()) {
				t.Fatal("no certificate in the authority's PEM")
			}
			_, err := tc.cert.Verify(x509.VerifyOptions{
				Roots: roots, DNSName: tc.host, CurrentTime: tc.at, KeyUsages: []x509.ExtKeyUsage{tc.usage},
			})
			if (err == nil) != tc.ok {
				t.Errorf("verify: %v", err)
			}
		})
	}
}
