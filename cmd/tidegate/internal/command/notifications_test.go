package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const notifications = `secretName: s
sinks:
- {name: a, url: {key: k}}
routes:
- {sinks: [a]}
`

func TestNotificationsCheckSaysWhatTheManagerWould(t *testing.T) {
	under := "manager: {replicas: 2}\nnotifications:\n  " + strings.ReplaceAll(strings.TrimSpace(notifications), "\n", "\n  ") + "\n"
	for name, c := range map[string]struct {
		text string
		code int
		said string
	}{
		"the file itself":               {notifications, ExitOK, "1 sinks, 1 routes"},
		"values of the chart":           {under, ExitOK, "1 sinks, 1 routes"},
		"a mistake":                     {strings.Replace(notifications, "sinks: [a]", "sinks: [b]", 1), ExitRenderFindings, `routes[0].sinks: wanted names of sinks of this file, found "b"`},
		"a mistake in values":           {strings.Replace(under, "sinks: [a]", "sinks: [b]", 1), ExitRenderFindings, `routes[0].sinks`},
		"values without any, but typos": {"notification: {}\n", ExitRenderFindings, `unknown field "notification"`},
		"no YAML":                       {"sinks: [", ExitRenderFindings, "wanted YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "notifications", "check", file(t, "n.yaml", c.text)), c.code)
			if said := w.out.String() + w.err.String(); !strings.Contains(said, c.said) {
				t.Errorf("wanted %q in %q", c.said, said)
			}
		})
	}
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "notifications", "check", "/there/is/none"), ExitRefused)
}

// A test message goes to each sink as the manager would send it, and no secret is shown.
func TestNotificationsCheckSendsAMessageToEachSink(t *testing.T) {
	const token, signature = "hunter2-token", "hunter2-signing-key-of-24-bytes"
	text := `secretName: sinks
sinks:
- {name: bus, webhook: {url: %[1]s/bus, signingKey: hmac, tokenKey: token}}
- {name: chat, url: {key: chat}}
- {name: open, webhook: {url: %[1]s/open}}
routes:
- {sinks: [bus]}
`
	secret := func(kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: "sinks"}, Type: kind}
	}
	forbidden := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("hunter2 is not for you")
	}}
	for name, c := range map[string]struct {
		funcs  interceptor.Funcs
		secret *corev1.Secret
		refuse string // a path
		args   []string
		code   int
		said   []string
		got    []string // paths
	}{
		"all arrive": {
			secret: secret(corev1.SecretTypeOpaque), args: []string{"--send"}, code: ExitOK,
			said: []string{"bus   webhook  arrived", "chat  url      arrived", "open  webhook  arrived"}, got: []string{"/bus", "/chat", "/open"},
		},
		"without --send nothing goes out": {secret: secret(corev1.SecretTypeOpaque), code: ExitOK, said: []string{"3 sinks, 1 routes"}},
		"only the one that is named":      {secret: secret(corev1.SecretTypeOpaque), args: []string{"--send", "--sink", "open"}, code: ExitOK, said: []string{"open  webhook  arrived"}, got: []string{"/open"}},
		"one refuses": {
			secret: secret(corev1.SecretTypeOpaque), refuse: "/bus", args: []string{"--send"}, code: ExitRenderFindings,
			said: []string{"bus   webhook  did not arrive: the server answered 403: the token", "chat  url      arrived", "found 1 that did not"}, got: []string{"/bus", "/chat", "/open"},
		},
		"no Secret": {
			args: []string{"--send"}, code: ExitRenderFindings,
			said: []string{"did not arrive: there is no Secret tidegate-system/sinks; create it with the key token", "open  webhook  arrived", "found 2 that did not"}, got: []string{"/open"},
		},
		"a Secret of an account":                 {secret: secret(corev1.SecretTypeServiceAccountToken), args: []string{"--send", "--sink", "bus"}, code: ExitRenderFindings, said: []string{"of type Opaque"}},
		"a Secret that one may not get":          {funcs: forbidden, args: []string{"--send", "--sink", "bus"}, code: ExitRenderFindings, said: []string{"could not be read; see that you may get it"}},
		"a sink that the file does not have":     {args: []string{"--send", "--sink", "moon"}, code: ExitRenderFailed, said: []string{`found "moon"`}},
		"a sink is named and nothing to be sent": {args: []string{"--sink", "open"}, code: ExitRenderFailed, said: []string{"wanted --send"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]string{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				got[r.URL.Path] = r.Header.Get("Authorization") + r.Header.Get("webhook-signature") + string(body)
				mu.Unlock()
				if r.URL.Path == c.refuse {
					w.WriteHeader(http.StatusForbidden)
				}
			}))
			t.Cleanup(server.Close)
			var objects []client.Object
			if c.secret != nil {
				c.secret.Data = map[string][]byte{
					"token": []byte(token), "hmac": []byte(signature),
					"chat": []byte(strings.Replace(server.URL, "http://", "generic://", 1) + "/chat?disabletls=yes&template=json"),
				}
				objects = append(objects, c.secret)
			}
			w := newWorld(t, c.funcs, objects...)
			path := file(t, "n.yaml", fmt.Sprintf(text, server.URL))
			w.wantCode(w.run(t.Context(), append([]string{"notifications", "check", path}, c.args...)...), c.code)
			said := w.out.String() + w.err.String()
			wantPart(t, "what is said", said, c.said...)
			if strings.Contains(said, "hunter2") {
				t.Errorf("a secret is shown: %s", said)
			}
			if len(got) != len(c.got) {
				t.Errorf("messages to %v, want them to %v", got, c.got)
			}
			for _, path := range c.got {
				if !strings.Contains(got[path], "test message") && !strings.Contains(got[path], "checks whether") {
					t.Errorf("%s got %q", path, got[path])
				}
			}
			if m := got["/bus"]; m != "" && (!strings.Contains(m, token) || !strings.Contains(m, "v1,") || !strings.Contains(m, "io.tidegate.rollout.test.v1")) {
				t.Errorf("wanted a signed CloudEvent with the token, got %q", m)
			}
		})
	}
}
