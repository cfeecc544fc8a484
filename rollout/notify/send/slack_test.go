package send

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/rollout/notify/rules"
)

const token = "xoxb-hunter2-hunter2"

func TestSlackGetsAMessageByTheAPI(t *testing.T) {
	s := serve(t, false, 200, nil, `{"ok":true}`)
	bot := sender(t, rules.Sink{Slack: &rules.Slack{TokenKey: "slack", Channel: "#deployments", APIURL: s.URL + "/api/"}})
	if err := bot.Send(t.Context(), held(), having(map[string]string{"slack": token})); err != nil {
		t.Fatal(err)
	}
	got := s.only(t)
	if got.path != "/api/chat.postMessage" || got.header.Get("Authorization") != "Bearer "+token || got.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("the request: %s %v", got.path, got.header)
	}
	type written struct {
		Type, Text string
		Verbatim   bool
	}
	var message struct {
		Channel, Text string
		UnfurlLinks   *bool `json:"unfurl_links"`
		Blocks        []struct {
			Type     string
			Text     written
			Elements []written
		}
	}
	if err := json.Unmarshal(got.body, &message); err != nil {
		t.Fatal(err)
	}
	if message.Channel != "#deployments" || message.Text != "shop/cart is held at step 1/3" || message.UnfurlLinks == nil || *message.UnfurlLinks {
		t.Errorf("the message: %+v", message)
	}
	var texts []string
	for _, b := range message.Blocks {
		if !b.Text.Verbatim && (b.Elements == nil || !b.Elements[0].Verbatim) {
			t.Errorf("Slack may make mentions of what is in %+v", b)
		}
		switch b.Type {
		case "section":
			texts = append(texts, b.Text.Text)
		case "context":
			texts = append(texts, b.Elements[0].Text)
		default:
			t.Errorf("a block of type %s", b.Type)
		}
	}
	want := []string{
		":warning: *shop/cart is held at step 1/3*",
		"*Why* `TG-HOLD-NODATA`\n> errors &lt; 1 % &amp; &lt;!channel&gt; no data\n> from \"main\"",
		"*To do*\n`tidegate status cart -n shop`",
		"Cluster eu-1: Rollout cart-7, revision 0123456789, template web-3-aa",
	}
	if strings.Join(texts, "\n--\n") != strings.Join(want, "\n--\n") {
		t.Errorf("wanted\n%s\ngot\n%s", strings.Join(want, "\n--\n"), strings.Join(texts, "\n--\n"))
	}
}

func TestSlackGetsAMessageByAnIncomingWebhook(t *testing.T) {
	s := serve(t, false, 200, nil, `ok`)
	hook := sender(t, rules.Sink{Slack: &rules.Slack{WebhookKey: "hook"}})
	if err := hook.Send(t.Context(), held(), having(map[string]string{"hook": s.URL + "/services/T1/B1/hunter2"})); err != nil {
		t.Fatal(err)
	}
	got := s.only(t)
	if got.path != "/services/T1/B1/hunter2" || got.header.Get("Authorization") != "" || strings.Contains(string(got.body), `"channel"`) {
		t.Errorf("the request: %s %v %s", got.path, got.header, got.body)
	}
}

func TestWhatSlackAnswersIsUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  string
		body   string
		want   string
		final  bool
		wait   time.Duration
	}{
		"the channel is not there":                  {200, "", `{"ok":false,"error":"channel_not_found"}`, "Slack answered channel_not_found; see", true, 0},
		"it is too much by the body":                {200, "7", `{"ok":false,"error":"ratelimited"}`, "Slack answered ratelimited", false, 7 * time.Second},
		"it is too much by the status":              {429, "30", ``, "the server answered 429", false, 30 * time.Second},
		"it asks for a day":                         {429, "86400", ``, "the server answered 429", false, time.Minute},
		"it fails":                                  {503, "", ``, "the server answered 503", false, 0},
		"it is not Slack":                           {200, "", `<html>`, "is not that of its API", false, 0},
		"it says what a word of Slack's cannot be":  {200, "", `{"ok":false,"error":"` + token + `"}`, "without a reason that is known", true, 0},
		"the token is not the right one, by status": {401, "", ``, "is not the right one", true, 0},
		"it leads elsewhere":                        {302, "", ``, "a redirect, which is not followed", true, 0},
		"it takes nothing":                          {404, "", token, "the server answered 404", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, c.status, http.Header{"Retry-After": {c.after}, "Location": {"/elsewhere"}}, c.body)
			bot := sender(t, rules.Sink{Slack: &rules.Slack{TokenKey: "slack", Channel: "x", APIURL: s.URL}})
			err := failure(t, bot.Send(t.Context(), held(), having(map[string]string{"slack": token})), token)
			if !strings.Contains(err.What, c.want) || err.Final != c.final || err.After != c.wait {
				t.Errorf("got %+v", err)
			}
			s.only(t)
		})
	}
}

func TestASlackURLThatCannotBeUsedIsNotRepeated(t *testing.T) {
	for name, url := range map[string]string{
		"no URL":                "hunter2",
		"no TLS":                "http://hooks.example.com/hunter2",
		"a password in it":      "https://me:hunter2@hooks.example.com",
		"a host that is no one": "https://hunter2.invalid/hunter2",
		"a scheme of its own":   "slack://hunter2",
		"control characters":    "https://hooks.example.com/\x00hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			hook := sender(t, rules.Sink{Slack: &rules.Slack{WebhookKey: "hook"}})
			failure(t, hook.Send(t.Context(), held(), having(map[string]string{"hook": url})), "hunter2")
		})
	}
	hook := sender(t, rules.Sink{Slack: &rules.Slack{WebhookKey: "hook"}})
	if err := failure(t, hook.Send(t.Context(), held(), having(nil))); err.Final || err.What != "there is no key hook" {
		t.Errorf("a key that may come: %+v", err)
	}
}

func TestALongTextIsCutAtACharacter(t *testing.T) {
	for _, why := range []string{strings.Repeat("<é", 3000), strings.Repeat("\n", 2000)} {
		e := held()
		e.Why = why
		for _, b := range (&slack{}).message(e).Blocks {
			if b.Text != nil && len(b.Text.Text) > 3000 {
				t.Errorf("a block of %d bytes for %.4q...", len(b.Text.Text), why)
			}
		}
	}
	if got := escape(strings.Repeat("&", 2800)); !strings.HasSuffix(got, "&amp;…") {
		t.Errorf("it ends with %q", got[len(got)-10:])
	}
}
