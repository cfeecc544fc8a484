package send

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/notify/rules"
)

// generic is the URL of a service of the library that posts to a server of ours.
func generic(s *server) string {
	return strings.Replace(s.URL, "http://", "generic://", 1) + "/hunter2?disabletls=yes&template=json"
}

func TestAServiceOfTheLibraryGetsTheText(t *testing.T) {
	s := serve(t, false, 200, nil, "")
	service := sender(t, rules.Sink{URL: &rules.URL{Key: "url"}})
	if err := service.Send(t.Context(), held(), having(map[string]string{"url": generic(s) + "\n"})); err != nil {
		t.Fatal(err)
	}
	got := s.only(t)
	var body struct{ Message string }
	if err := json.Unmarshal(got.body, &body); err != nil || got.path != "/hunter2" {
		t.Fatalf("%s %s: %v", got.path, got.body, err)
	}
	for _, part := range []string{"[eu-1] shop/cart is held at step 1/3\n", "Why: errors < 1 %", "(TG-HOLD-NODATA)", "Do: tidegate status cart -n shop"} {
		if !strings.Contains(body.Message, part) {
			t.Errorf("wanted %q in %q", part, body.Message)
		}
	}
}

func TestAServiceThatCannotBeUsedIsExplainedWithoutItsURL(t *testing.T) {
	refuses, fails, leads := serve(t, false, 403, nil, "hunter2"), serve(t, false, 503, http.Header{"Retry-After": {"9"}}, ""), serve(t, false, 302, http.Header{"Location": {"/x"}}, "")
	closed := serve(t, false, 200, nil, "")
	closed.Close()
	for name, c := range map[string]struct {
		url   string
		want  string
		final bool
		after time.Duration
	}{
		"a service that there is not": {"moon://hunter2@x", "wanted a URL of a service that is known", true, 0},
		"no URL":                      {"hunter2", "wanted a URL of a service that is known", true, 0},
		"a URL that cannot be read":   {"discord://%zzhunter2", "wanted a URL of a service that is known", true, 0},
		"one that only logs":          {"logger://hunter2", "wanted a URL of a service that is known", true, 0},
		"one that lacks a part":       {"pagerduty://", "wanted a URL of a service that is known", true, 0},
		"the token is not right":      {generic(refuses), "the server answered 403", true, 0},
		"the service fails":           {generic(fails), "the server answered 503", false, 9 * time.Second},
		"the service leads elsewhere": {generic(leads), "a redirect, which is not followed", true, 0},
		"nobody is there":             {generic(closed), "the connection was refused", false, 0},
		"no mail server":              {"smtp://hunter2:hunter2@" + closed.Listener.Addr().String() + "/?from=a@example.com&to=b@example.com", "the connection was refused", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			service := sender(t, rules.Sink{URL: &rules.URL{Key: "url"}})
			err := failure(t, service.Send(t.Context(), held(), having(map[string]string{"url": c.url})), "hunter2", "127.0.0.1")
			if !strings.Contains(err.What, c.want) || err.Final != c.final || err.After != c.after {
				t.Errorf("wanted %q, got %+v", c.want, err)
			}
		})
	}
}

func TestAServiceThatHangsEndsInTime(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	service := sender(t, rules.Sink{Timeout: metav1.Duration{Duration: 50 * time.Millisecond}, URL: &rules.URL{Key: "url"}})
	err := failure(t, service.Send(t.Context(), held(), having(map[string]string{"url": generic(&server{Server: hanging})})), "hunter2")
	if err.Final || !strings.Contains(err.What, "no answer in time") {
		t.Errorf("got %+v", err)
	}
}

func TestAnAnswerThatEndsTooLateIsNoRefusal(t *testing.T) {
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	reading := &watched{attempt: over, status: 200}
	if err := failure(t, reading.explain(errors.New("reading the answer"))); err.Final || !strings.Contains(err.What, "no answer in time") {
		t.Errorf("got %+v", err)
	}
	reading.attempt = t.Context()
	if err := failure(t, reading.explain(errors.New("reading the answer"))); !err.Final || !strings.Contains(err.What, "refused the message") {
		t.Errorf("got %+v", err)
	}
}

// A mail server that says nothing hangs for longer than anybody waits; only so many attempts
// may pile up behind it.
func TestAttemptsThatHangDoNotPileUp(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	service := sender(t, rules.Sink{Timeout: metav1.Duration{Duration: 20 * time.Millisecond}, URL: &rules.URL{Key: "url"}})
	secrets := having(map[string]string{"url": "smtp://a:b@" + l.Addr().String() + "/?from=a@example.com&to=b@example.com&timeout=1m"})
	for range maxHanging {
		if err := failure(t, service.Send(t.Context(), held(), secrets)); !strings.Contains(err.What, "no answer in time") {
			t.Fatalf("got %+v", err)
		}
		<-accepted
	}
	if err := failure(t, service.Send(t.Context(), held(), secrets)); !strings.Contains(err.What, "still hang") {
		t.Errorf("got %+v", err)
	}
	if len(accepted) != 0 {
		t.Error("another attempt was made")
	}
}

// The smallest mail server there is, to see that mail goes out at all.
func TestMailGoesOut(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	mail := make(chan string, 1)
	go receive(l, mail)
	service := sender(t, rules.Sink{URL: &rules.URL{Key: "url"}})
	url := "smtp://" + l.Addr().String() + "/?auth=None&encryption=None&usestarttls=no&from=a@example.com&to=b@example.com&subject=Tidegate"
	if err := service.Send(t.Context(), held(), having(map[string]string{"url": url})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case text := <-mail:
		if !strings.Contains(text, "shop/cart is held at step 1/3") || !strings.Contains(text, "Subject: Tidegate") {
			t.Errorf("the mail is %q", text)
		}
	case <-ctx.Done():
		t.Error("no mail came")
	}
}

// receive takes one mail.
func receive(l net.Listener, mail chan<- string) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	fmt.Fprint(c, "220 here\r\n")
	var text strings.Builder
	data := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		switch {
		case data && line == ".":
			data = false
			mail <- text.String()
			fmt.Fprint(c, "250 taken\r\n")
		case data:
			text.WriteString(line + "\n")
		case line == "DATA":
			data = true
			fmt.Fprint(c, "354 go on\r\n")
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 fine\r\n")
		}
	}
}
