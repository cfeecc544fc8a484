package command

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	gatekeeperapi "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

func (c *cli) policyServe() *cobra.Command {
	var listen, ca, engine string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the webhook for constraints here, for policy verify --server",
		Long: `Run the handler of the webhook that judges by constraints, over HTTPS on this machine and
without a cluster, until it is interrupted. It judges each case that policy verify sends
by what the case brings along. It listens on loopback alone: whoever reaches it gives it
Rego to run.`,
		Example: c.example(`
tidegate policy serve --ca ca.crt &
tidegate policy verify policies/... --server https://127.0.0.1:9443 --ca ca.crt`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.servePolicies(cmd.Context(), listen, ca, engine) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9443", "Address of loopback to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&ca, "ca", "", "File that the server's certificate is written to, for clients (required)")
	engineFlag(cmd, &engine)
	return cmd
}

func (c *cli) servePolicies(ctx context.Context, listen, ca, engine string) error {
	compiler, err := gatekeeperapi.Preferring(engine)
	if err != nil {
		return exit(ExitRenderFailed, "--engine: %w", err)
	}
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return exit(ExitRenderFailed, "wanted an address of loopback with a port, such as 127.0.0.1:9443, found %q", listen)
	}
	if ca == "" {
		return exit(ExitRenderFailed, "%w", errors.New("wanted --ca with a file to write the certificate to, found nothing"))
	}
	certificate, public, err := selfSigned(host, time.Now())
	if err != nil {
		return exit(ExitRenderFailed, "making a certificate: %w", err)
	}
	if err := os.WriteFile(ca, public, 0o600); err != nil {
		return exit(ExitRenderFailed, "writing the certificate: %w", err)
	}
	cases, err := gatekeeper.NewCases(clock.RealClock{}, compiler)
	if err != nil {
		return exit(ExitRenderFailed, "%w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return exit(ExitRenderFailed, "listening: %w", err)
	}
	server := &http.Server{
		Handler:           cases,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(c.Err, "", 0),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	c.say("Serving at https://%s%s", listener.Addr(), gatekeeperapi.WebhookPath)
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return exit(ExitRenderFailed, "serving: %w", err)
	}
	return nil
}

// selfSigned makes a certificate for a host that lasts a day, and returns it in PEM too.
func selfSigned(host string, now time.Time) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "tidegate policy serve"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(host)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
