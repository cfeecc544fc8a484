package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"tidegate.io/tidegate/test/cluster/pki"
)

// Kubeconfig returns the path of the administrator's kubeconfig, a member of system:masters.
func (c *Cluster) Kubeconfig() string { return c.home.Path("kubeconfig") }

// RESTConfig returns a copy of the administrator's configuration, without client-side throttling.
func (c *Cluster) RESTConfig() *rest.Config {
	cfg := rest.CopyConfig(c.admin)
	cfg.QPS = -1
	return cfg
}

// UserKubeconfig returns the path of a kubeconfig that logs in with a client certificate as a user
// who is a member of groups and of system:authenticated, and whose rights are what RBAC gives to these.
func (c *Cluster) UserKubeconfig(name string, groups ...string) (string, error) {
	pair, err := c.ca.Client(name, groups, time.Now())
	if err != nil {
		return "", err
	}
	return c.writeUser(name, strings.Join(groups, ","), clientAuth(pair))
}

// ServiceAccountKubeconfig returns the path of a kubeconfig that logs in with a token of an
// existing service account, valid for an hour.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (string, error) {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	hour := int64(3600)
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	tok, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, req, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of service account %s/%s: %w", namespace, name, err)
	}
	return c.writeUser("sa-"+namespace+"-"+name, "", &api.AuthInfo{Token: tok.Status.Token})
}

// writeUser writes a kubeconfig to a file of its own: names are people's and may hold anything.
func (c *Cluster) writeUser(name, groups string, auth *api.AuthInfo) (string, error) {
	sum := sha256.Sum256([]byte(name + "\x00" + groups))
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, name)
	path := c.home.Path("users", safe+"-"+hex.EncodeToString(sum[:4])+".kubeconfig")
	return path, c.writeKubeconfig(path, name, auth)
}

func (c *Cluster) writeKubeconfig(path, user string, auth *api.AuthInfo) error {
	cfg := api.NewConfig()
	cfg.Clusters[c.home.Name] = &api.Cluster{Server: c.state.APIServerURL, CertificateAuthorityData: c.ca.CertPEM()}
	cfg.AuthInfos[user] = auth
	cfg.Contexts[c.home.Name] = &api.Context{Cluster: c.home.Name, AuthInfo: user}
	cfg.CurrentContext = c.home.Name
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return nil
}

func clientAuth(p pki.Pair) *api.AuthInfo {
	return &api.AuthInfo{ClientCertificateData: p.Cert, ClientKeyData: p.Key}
}
