package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/pki"
	"tidegate.io/tidegate/test/cluster/proc"
)

// Names of the components, for StopComponent and StartComponent.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
	Prometheus        = "prometheus"
	Gateway           = "gateway"
)

// Identities of the components that are no built-in ones of Kubernetes.
const (
	// KwokUser writes the status of pods and nodes, and deletes pods, in place of kubelets.
	KwokUser = "system:kwok-controller"
	// PrometheusUser reads pods.
	PrometheusUser = "tidegate-test:prometheus"
	// GatewayUser reads routes and what they refer to, and writes their status.
	GatewayUser = "tidegate-test:gateway"
)

// A component is one program of the cluster.
type component struct {
	name string
	port int
	// args are the program's arguments when it serves at port.
	args func(port int) ([]string, error)
	// ready is the path of its health check; empty: it is ready when it runs.
	ready string
	// plain is set if it serves HTTP without TLS.
	plain bool
	// grace is how long it may take to end.
	grace time.Duration

	process *proc.Process // nil while stopped on purpose
}

func (k *component) url() string {
	scheme := "https://"
	if k.plain {
		scheme = "http://"
	}
	return scheme + home.Address(k.port)
}

func (c *Cluster) etcd(ctx context.Context) *component {
	// It keeps the address it once told its only member, across restarts.
	peerPort := sync.OnceValues(func() (int, error) { return c.nextPort(ctx) })
	return &component{name: Etcd, ready: "/health", grace: 2 * time.Second, args: func(port int) ([]string, error) {
		peer, err := peerPort()
		if err != nil {
			return nil, err
		}
		client, member := "https://"+home.Address(port), "https://"+home.Address(peer)
		return []string{
			"--name=etcd", "--data-dir=" + c.home.Path("etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + member, "--initial-advertise-peer-urls=" + member, "--initial-cluster=etcd=" + member,
			// Only this cluster's own API server gets in: a port that changed hands between two
			// clusters can never join the one to the data of the other.
			"--cert-file=" + c.pki("etcd.crt"), "--key-file=" + c.pki("etcd.key"),
			"--client-cert-auth", "--trusted-ca-file=" + c.pki("ca.crt"),
			"--peer-cert-file=" + c.pki("etcd.crt"), "--peer-key-file=" + c.pki("etcd.key"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + c.pki("ca.crt"),
			// Nothing here has to survive a power cut.
			"--unsafe-no-fsync", "--log-level=warn",
		}, nil
	}}
}

func (c *Cluster) apiServer(etcd *component) *component {
	return &component{name: APIServer, ready: "/readyz", grace: 3 * time.Second, args: func(port int) ([]string, error) {
		return append([]string{
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
			// The "kubernetes" service would need an address that is no loopback one.
			"--endpoint-reconciler-type=none",
			"--etcd-servers=" + etcd.url(), "--etcd-cafile=" + c.pki("ca.crt"),
			"--etcd-certfile=" + c.pki("etcd.crt"), "--etcd-keyfile=" + c.pki("etcd.key"),
			"--authorization-mode=Node,RBAC", "--client-ca-file=" + c.pki("ca.crt"),
			"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + c.pki("sa.pub"), "--service-account-signing-key-file=" + c.pki("sa.key"),
			"--service-cluster-ip-range=" + c.home.ServiceCIDR(),
			"--allow-privileged", "--profiling=false",
			// A watch ends at once at shutdown, instead of holding it up.
			"--shutdown-watch-termination-grace-period=0s",
		}, c.opts.APIServerArgs...), nil
	}}
}

func (c *Cluster) controllerManager() *component {
	return &component{name: ControllerManager, ready: "/healthz", grace: 2 * time.Second, args: func(port int) ([]string, error) {
		return []string{
			"--kubeconfig=" + c.userFile(ControllerManager), "--leader-elect=false",
			"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
			"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
			// Each controller acts as the service account it has in any cluster.
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + c.pki("sa.key"), "--root-ca-file=" + c.pki("ca.crt"),
			"--allocate-node-cidrs=false", "--kube-api-qps=300", "--kube-api-burst=500", "--profiling=false",
		}, nil
	}}
}

func (c *Cluster) scheduler() *component {
	return &component{name: Scheduler, ready: "/healthz", grace: 2 * time.Second, args: func(port int) ([]string, error) {
		return []string{
			"--kubeconfig=" + c.userFile(Scheduler), "--leader-elect=false",
			"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
			"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
			"--kube-api-qps=300", "--kube-api-burst=500", "--profiling=false",
		}, nil
	}}
}

// kwok is ready when the nodes are.
func (c *Cluster) kwok() *component {
	return &component{name: Kwok, grace: 2 * time.Second, args: func(int) ([]string, error) {
		path := c.home.Path("kwok.yaml")
		if err := os.WriteFile(path, []byte(stages(c.opts.ManualReadiness)), 0o600); err != nil {
			return nil, fmt.Errorf("writing the stages: %w", err)
		}
		return []string{
			"--kubeconfig=" + c.userFile(Kwok), "--config=" + path, "--manage-all-nodes",
			"--cidr=" + c.home.PodCIDR(), "--node-ip=" + c.home.NodeIP(),
			// As a kubelet does: without leases the nodes, and the pods on them, count as lost
			// a minute after the start.
			"--node-lease-duration-seconds=40",
		}, nil
	}}
}

func (c *Cluster) prometheus() *component {
	// It keeps what it knows in memory, and wants a moment to write that down.
	return &component{name: Prometheus, ready: "/-/ready", plain: true, grace: 10 * time.Second, args: func(port int) ([]string, error) {
		path := c.home.Path("prometheus.yaml")
		if err := os.WriteFile(path, []byte(prometheusConfig(c.userFile(Prometheus), c.opts.ScrapeInterval)), 0o600); err != nil {
			return nil, fmt.Errorf("writing the configuration: %w", err)
		}
		return []string{
			"--config.file=" + path, "--storage.tsdb.path=" + c.home.Path("prometheus"),
			"--storage.tsdb.retention.time=1d", "--web.listen-address=" + home.Address(port),
			// A new pod is scraped a second later, not five.
			"--scrape.discovery-reload-interval=1s",
		}, nil
	}}
}

// gateway serves HTTPRoutes once there are Gateways.
func (c *Cluster) gateway() *component {
	return &component{name: Gateway, plain: true, grace: 5 * time.Second, args: func(port int) ([]string, error) {
		return []string{"--kubeconfig=" + c.userFile(Gateway), "--listen=" + home.Address(port)}, nil
	}}
}

// writeCredentials writes the keys, certificates and kubeconfigs of all components.
func (c *Cluster) writeCredentials(now time.Time) error {
	if err := os.MkdirAll(c.home.Path("pki"), 0o700); err != nil {
		return fmt.Errorf("writing credentials: %w", err)
	}
	etcd, err := c.ca.Server("etcd", []string{"127.0.0.1"}, now)
	if err != nil {
		return err
	}
	server, err := c.ca.Server("kube-apiserver", []string{
		"127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}, now)
	if err != nil {
		return err
	}
	tokens, err := pki.SigningKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt":   c.ca.CertPEM(),
		"etcd.crt": etcd.Cert, "etcd.key": etcd.Key,
		"server.crt": server.Cert, "server.key": server.Key,
		"sa.pub": tokens.Cert, "sa.key": tokens.Key,
	} {
		if err := os.WriteFile(c.pki(name), content, 0o600); err != nil {
			return fmt.Errorf("writing credentials: %w", err)
		}
	}
	c.http, err = httpClient(c.ca, etcd)
	return err
}

// writeKubeconfigs writes how each component logs in, once the API server's address is known.
func (c *Cluster) writeKubeconfigs(now time.Time) error {
	for _, u := range []struct {
		path, user string
		groups     []string
	}{
		{c.Kubeconfig(), "admin", []string{"system:masters"}},
		{c.userFile(ControllerManager), "system:kube-controller-manager", nil},
		{c.userFile(Scheduler), "system:kube-scheduler", nil},
		{c.userFile(Kwok), KwokUser, nil},
		{c.userFile(Prometheus), PrometheusUser, nil},
		{c.userFile(Gateway), GatewayUser, nil},
	} {
		pair, err := c.ca.Client(u.user, u.groups, now)
		if err != nil {
			return err
		}
		if err := c.writeKubeconfig(u.path, u.user, clientAuth(pair)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) pki(name string) string      { return filepath.Join(c.home.Dir, "pki", name) }
func (c *Cluster) userFile(name string) string { return c.home.Path("components", name+".kubeconfig") }
func (c *Cluster) logFile(name string) string  { return c.home.Path("logs", name+".log") }

// httpClient asks for health: it trusts the cluster's authority, and etcd lets it in.
func httpClient(ca *pki.Authority, p pki.Pair) (*http.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM())
	cert, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil, fmt.Errorf("loading a client certificate: %w", err)
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true, // a server that was replaced at its port is another server
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		},
	}, nil
}
