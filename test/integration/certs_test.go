package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/webhook/certs"
)

const certsNamespace = "certs"

// TestCertificates keeps two replicas' certificates of a Secret that begins empty, with
// leaves that live for seconds.
func TestCertificates(t *testing.T) {
	cluster := local.ForTest(t, local.Options{})
	c, err := client.New(cluster.RESTConfig(), client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	never := admissionregistrationv1.SideEffectClassNone
	url := "https://localhost:1/none"
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: certsNamespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: certsNamespace, Name: certs.DefaultSecret}},
		&admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "certs"},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name: "certs.tidegate.io", SideEffects: &never, AdmissionReviewVersions: []string{"v1"},
				ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url},
			}},
		},
	} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	short := certs.Options{
		Namespace: certsNamespace, URL: "https://localhost:9443", Webhooks: []string{"certs"},
		LeafDuration: 30 * time.Second, Lookahead: 26 * time.Second, CheckEvery: 200 * time.Millisecond,
	}
	one := startCerts(t, cluster, short)
	two := startCerts(t, cluster, short)

	// What the API server trusts is what both serve, from the first certificate on and
	// across three rotations, at every moment.
	seen := map[string]bool{}
	var authority []byte
	deadline, tick := time.NewTimer(within), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for len(seen) < 4 {
		select {
		case <-deadline.C:
			t.Fatalf("%d leaves within %s, wanted 4", len(seen), within)
		case <-tick.C:
		}
		var hooks admissionregistrationv1.ValidatingWebhookConfiguration
		if err := c.Get(t.Context(), client.ObjectKey{Name: "certs"}, &hooks); err != nil {
			t.Fatal(err)
		}
		bundle := hooks.Webhooks[0].ClientConfig.CABundle
		if len(bundle) == 0 {
			t.Fatal("ready without the authority in the webhook configuration")
		}
		if authority == nil {
			authority = bundle
		}
		if !bytes.Equal(authority, bundle) || !bytes.Equal(authority, one.certs.CABundle()) {
			t.Fatal("the authority changed with a leaf")
		}
		for _, replica := range []replica{one, two} {
			leaf := replica.handshake(t, bundle, "localhost")
			seen[leaf.SerialNumber.String()+leaf.NotAfter.String()+string(leaf.Signature)] = true
			if !slices.Contains(leaf.DNSNames, certs.DefaultService+"."+certsNamespace+".svc") {
				t.Fatalf("the leaf lacks the Service's name: %v", leaf.DNSNames)
			}
		}
	}
	one.stop()
	two.stop()

	// Another URL has another leaf, though the old one is still good.
	moved := short
	moved.URL, moved.LeafDuration, moved.Lookahead = "https://gate.example:9443", 0, 0
	three := startCerts(t, cluster, moved)
	three.handshake(t, three.certs.CABundle(), "gate.example")
	three.stop()
}

// replica is a manager with nothing but certificates, and a TLS server.
type replica struct {
	certs *certs.Certs
	addr  string
	stop  func()
}

// replicas numbers the replicas of this process.
var replicas atomic.Int32

func startCerts(t *testing.T, cluster *local.Cluster, o certs.Options) replica {
	t.Helper()
	skip := true
	mgr, err := manager.New(cluster.RESTConfig(), manager.Options{
		Scheme:  testScheme(t),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.Namespace: {}}},
		}},
		Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Controller = fmt.Sprintf("certs-%d", replicas.Add(1))
	c, err := certs.Setup(t.Context(), mgr, o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: c.GetCertificate, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				if tlsConn, ok := conn.(*tls.Conn); ok {
					_ = tlsConn.HandshakeContext(context.WithoutCancel(t.Context()))
				}
				_ = conn.Close()
			}()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		_ = listener.Close()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	}
	t.Cleanup(stop)
	deadline := time.Now().Add(within)
	for c.Ready(nil) != nil {
		if time.Now().After(deadline) {
			t.Fatalf("no certificate: %v", c.Ready(nil))
		}
		select {
		case err := <-ended:
			t.Fatalf("the manager ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return replica{certs: c, addr: listener.Addr().String(), stop: stop}
}

// handshake does what the API server does: it trusts the bundle and wants the name.
func (r replica) handshake(t *testing.T, bundle []byte, name string) *x509.Certificate {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle has no certificate")
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(t.Context(), "tcp", r.addr)
	if err != nil {
		t.Fatalf("an API server would not trust the webhook: %v", err)
	}
	defer func() { _ = conn.Close() }()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatalf("a %T", conn)
	}
	return tlsConn.ConnectionState().PeerCertificates[0]
}
