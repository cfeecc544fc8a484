package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Traefik's provider refuses a route with the filter RequestMirror. So the provider reads the cluster through a proxy of ours, in which such a filter is a
// backend reference beside the rule's own, of a weight that is no weight: mirrorWeight and the
// percentage. The plane takes it out of the schedule and copies to it. Weights of the API end at
// a million.
const mirrorWeight = 999_000

// maxMirrored is the size in bytes up to which a request's body is copied.
const maxMirrored = 1 << 20

// copied returns the percentage of an entry that is a mirror, and whether it is one.
func copied(s dynamic.WRRService) (int, bool) {
	percent := weight(s) - mirrorWeight
	return percent, percent > 0
}

// mirrored adds the mirrors among services to a schedule.
func (b *builder) mirrored(ctx context.Context, next http.Handler, services []dynamic.WRRService) (http.Handler, error) {
	for _, s := range services {
		percent, ok := copied(s)
		if !ok {
			continue
		}
		to, err := b.child(ctx, s)
		if err != nil {
			return nil, err
		}
		next = &copier{next: next, to: to, percent: uint64(percent), pool: b.copies}
	}
	return next, nil
}

// copier sends a copy of a share of the requests elsewhere, and nobody sees the answers.
type copier struct {
	next, to http.Handler
	percent  uint64
	pool     *safe.Pool
	seen     atomic.Uint64
}

func (c *copier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.seen.Add(1)
	if n*c.percent/100 == (n-1)*c.percent/100 {
		c.next.ServeHTTP(w, r)
		return
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxMirrored+1))
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}
	if err == nil && len(head) <= maxMirrored {
		c.copy(r, head)
	}
	c.next.ServeHTTP(w, r)
}

func (c *copier) copy(r *http.Request, body []byte) {
	// The copy goes on when its original is answered.
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.Body = http.NoBody
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	c.pool.GoCtx(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, headerTimeout)
		defer cancel()
		c.to.ServeHTTP(&unseen{header: http.Header{}}, out.WithContext(ctx))
	})
}

// unseen takes an answer that nobody reads.
type unseen struct{ header http.Header }

func (u *unseen) Header() http.Header       { return u.header }
func (*unseen) Write(p []byte) (int, error) { return len(p), nil }
func (*unseen) WriteHeader(int)             {}

// throughProxy serves the cluster of a kubeconfig with the routes rewritten, and returns the path
// of a kubeconfig to it. It ends with ctx.
func throughProxy(ctx context.Context, kubeconfig string) (string, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return "", fmt.Errorf("reaching the cluster of %s: %w", kubeconfig, err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		return "", fmt.Errorf("reading the address of the cluster of %s: %w", kubeconfig, err)
	}
	// Others on this machine must not get at the cluster by it. A client sends no token over plain
	// HTTP, so the secret is in the path.
	secret := "/" + rand.Text()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for the provider: %w", err)
	}
	server := &http.Server{Handler: proxy(target, transport, secret), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	dir, err := os.MkdirTemp("", "gateway-")
	if err != nil {
		return "", fmt.Errorf("making a place for a kubeconfig: %w", err)
	}
	context.AfterFunc(ctx, func() {
		_ = server.Close()
		_ = os.RemoveAll(dir)
	})
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"users":[{"name":"u","user":{}}],"clusters":[{"name":"c","cluster":{"server":"http://%s%s"}}]}`, listener.Addr(), secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return path, nil
}

// proxy forwards what comes below the path secret to the API server, and rewrites the routes in
// what that answers.
func proxy(target *url.URL, transport http.RoundTripper, secret string) http.Handler {
	forward := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // Watches tell at once.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: func(res *http.Response) error {
			routes := strings.HasSuffix(res.Request.URL.Path, "/httproutes") || strings.HasSuffix(res.Request.URL.Path, "/grpcroutes")
			if res.StatusCode != http.StatusOK || !routes {
				return nil
			}
			res.Header.Del("Content-Length")
			res.ContentLength = -1
			res.Body = rewritten(res.Body)
			return nil
		},
	}
	return http.StripPrefix(secret, forward)
}

// rewritten is body, a list or the events of a watch, with the routes rewritten one by one as
// they come.
func rewritten(body io.ReadCloser) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		defer body.Close() //nolint:errcheck // Only read from.
		values := json.NewDecoder(bufio.NewReader(body))
		values.UseNumber()
		for {
			var value map[string]any
			err := values.Decode(&value)
			if err == nil {
				err = writeLine(in, value)
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				_ = in.CloseWithError(err)
				return
			}
		}
	}()
	return out
}

func writeLine(to io.Writer, value map[string]any) error {
	items, _ := value["items"].([]any)
	if object, ok := value["object"].(map[string]any); ok {
		items = append(items, object)
	}
	for _, each := range items {
		if route, ok := each.(map[string]any); ok {
			mirrorsToReferences(route)
		}
	}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(value); err != nil {
		return fmt.Errorf("encoding routes: %w", err)
	}
	_, err := to.Write(line.Bytes())
	return err //nolint:wrapcheck // Nobody reads it.
}

// mirrorsToReferences makes references of the mirrors in a route.
func mirrorsToReferences(route map[string]any) {
	spec, _ := route["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	for _, each := range rules {
		rule, _ := each.(map[string]any)
		filters, _ := rule["filters"].([]any)
		refs, _ := rule["backendRefs"].([]any)
		kept := []any{}
		for _, f := range filters {
			filter, _ := f.(map[string]any)
			to, ok := filter["requestMirror"].(map[string]any)
			if !ok {
				kept = append(kept, f)
				continue
			}
			if ref, ok := to["backendRef"].(map[string]any); ok {
				ref["weight"] = mirrorWeight + percentOf(to)
				refs = append(refs, ref)
			}
		}
		if len(kept) < len(filters) {
			rule["filters"], rule["backendRefs"] = kept, refs
		}
	}
}

// percentOf is the share of a mirror, all of the requests if it says none.
func percentOf(mirror map[string]any) int64 {
	read := func(value any, fallback int64) int64 {
		if n, err := strconv.ParseInt(fmt.Sprint(value), 10, 64); err == nil {
			return n
		}
		return fallback
	}
	if fraction, ok := mirror["fraction"].(map[string]any); ok {
		return 100 * read(fraction["numerator"], 0) / max(1, read(fraction["denominator"], 100))
	}
	return read(mirror["percent"], 100)
}
