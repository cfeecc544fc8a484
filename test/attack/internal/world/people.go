package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/pki"
)

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }

// Person is somebody who is logged in.
type Person struct {
	// Name is for the table.
	Name string

	base    string
	client  *http.Client
	headers http.Header
}

// NewPerson is somebody who reaches an API server with a client that logs in by itself.
func NewPerson(name, base string, client *http.Client) *Person {
	return &Person{Name: name, base: strings.TrimSuffix(base, "/"), client: client}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 32 << 20

// Request is a request by the person. Path is sent as it is.
func (p *Person) Request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	target := p.base + path
	if len(query) > 0 {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		target += separator + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("making a request of %s: %w", p.Name, err)
	}
	maps.Copy(req.Header, p.headers)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tidegate-attack")
	return req, nil
}

// Do sends a request and returns the answer.
func (p *Person) Do(req *http.Request) (status int, body []byte, err error) {
	status, body, _, err = p.Send(req)
	return status, body, err
}

// Send is Do with the answer's header.
func (p *Person) Send(req *http.Request) (status int, body []byte, header http.Header, err error) {
	res, err := p.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, body, res.Header, errors.Join(err, res.Body.Close())
}

// people logs in, once for each.
type people struct {
	cluster *local.Cluster
	proxies *pki.Authority
	admins  *kubernetes.Clientset

	mu    sync.Mutex
	known map[string]*Person
}

func newPeople(c *local.Cluster, proxies *pki.Authority) (*people, error) {
	admins, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return nil, err
	}
	return &people{cluster: c, proxies: proxies, admins: admins, known: map[string]*Person{}}, nil
}

func (p *people) admin() (*Person, error) {
	return p.once("admin", func() (*Person, error) { return fromConfig("admin", p.cluster.RESTConfig()) })
}

func (p *people) once(key string, login func() (*Person, error)) (*Person, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.known[key]; ok {
		return known, nil
	}
	made, err := login()
	if err != nil {
		return nil, fmt.Errorf("logging in %s: %w", key, err)
	}
	p.known[key] = made
	return made, nil
}

// Describe names an identity in the table; nil is who makes what when no one is named.
func Describe(i *attempt.Identity) string {
	switch {
	case i == nil:
		return attempt.Everyone
	case i.Manager:
		return "the manager"
	case i.Anonymous:
		return "anonymous"
	case i.Token != "":
		return "a token"
	case i.ServiceAccount != "":
		return i.ServiceAccount
	}
	name := i.User
	if len(i.Groups) > 0 {
		name += " (" + strings.Join(i.Groups, ", ") + ")"
	}
	if len(i.Extra) > 0 {
		name += " +extra"
	}
	if i.Impersonate != nil {
		name += " as " + i.Impersonate.User
	}
	return name
}

// Person logs somebody in; nil is a cluster-admin.
func (w *World) Person(ctx context.Context, i *attempt.Identity) (*Person, error) {
	if i == nil {
		i = &attempt.Identity{User: attempt.Everyone}
	}
	out, err := w.people.login(ctx, i)
	if err != nil || i.Impersonate == nil {
		return out, err
	}
	headers := out.headers.Clone()
	if headers == nil {
		headers = http.Header{}
	}
	set := func(key string, values ...string) {
		for _, v := range values {
			if v != "" {
				headers.Add(key, v)
			}
		}
	}
	set("Impersonate-User", i.Impersonate.User)
	set("Impersonate-Uid", i.Impersonate.UID)
	set("Impersonate-Group", i.Impersonate.Groups...)
	for k, v := range i.Impersonate.Extra {
		set("Impersonate-Extra-"+url.PathEscape(k), v...)
	}
	return &Person{Name: Describe(i), base: out.base, client: out.client, headers: headers}, nil
}

func (p *people) login(ctx context.Context, i *attempt.Identity) (*Person, error) {
	name := Describe(i)
	switch {
	case i.Manager:
		return p.once("the manager", func() (*Person, error) {
			return p.fromFile(name)(p.cluster.ServiceAccountKubeconfig(ctx, System, "tidegate-manager"))
		})
	case i.Anonymous:
		return p.once("anonymous", func() (*Person, error) {
			return fromConfig(name, rest.AnonymousClientConfig(p.cluster.RESTConfig()))
		})
	case i.Token != "":
		c := rest.AnonymousClientConfig(p.cluster.RESTConfig())
		c.BearerToken = i.Token
		return fromConfig(name, c)
	case i.ServiceAccount != "":
		return p.once("serviceaccount "+i.ServiceAccount, func() (*Person, error) { return p.serviceAccount(ctx, name, i.ServiceAccount) })
	}
	groups := i.Groups
	if len(groups) == 0 {
		groups = []string{GroupAdmins}
	}
	if len(i.Extra) > 0 {
		return p.byProxy(name, i.User, groups, i.Extra)
	}
	return p.once("user "+i.User+" of "+strings.Join(groups, ","), func() (*Person, error) {
		return p.fromFile(name)(p.cluster.UserKubeconfig(i.User, groups...))
	})
}

func (p *people) fromFile(name string) func(string, error) (*Person, error) {
	return func(path string, err error) (*Person, error) {
		if err != nil {
			return nil, err
		}
		c, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			return nil, err
		}
		return fromConfig(name, c)
	}
}

func (p *people) serviceAccount(ctx context.Context, name, account string) (*Person, error) {
	namespace, of, _ := strings.Cut(account, "/")
	hour := int64(3600)
	token, err := p.admins.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, of,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	c := rest.AnonymousClientConfig(p.cluster.RESTConfig())
	c.BearerToken = token.Status.Token
	return fromConfig(name, c)
}

// byProxy logs in as an authenticating proxy, which says who the user is by headers. It is
// the way in which a user gets extra.
func (p *people) byProxy(name, user string, groups []string, extra map[string][]string) (*Person, error) {
	proxy, err := p.once("front proxy", func() (*Person, error) {
		pair, err := p.proxies.Client("front-proxy", nil, time.Now())
		if err != nil {
			return nil, err
		}
		certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return nil, err
		}
		admin := p.cluster.RESTConfig()
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(admin.CAData) {
			return nil, errors.New("wanted the authority of the API server, found none")
		}
		return &Person{base: admin.Host, client: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		}}}, nil
	})
	if err != nil {
		return nil, err
	}
	headers := http.Header{"X-Remote-User": {user}, "X-Remote-Group": groups}
	for k, v := range extra {
		headers["X-Remote-Extra-"+url.PathEscape(k)] = v
	}
	return &Person{Name: name, base: proxy.base, client: proxy.client, headers: headers}, nil
}

func fromConfig(name string, c *rest.Config) (*Person, error) {
	c = rest.CopyConfig(c)
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, err
	}
	return NewPerson(name, c.Host, client), nil
}
