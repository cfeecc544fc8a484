package send

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
)

// maxSection is how long the text of a block may be; Slack takes 3000 characters.
const maxSection = 2800

// slack posts messages by chat.postMessage or by an incoming webhook.
type slack struct {
	config  rules.Slack
	cluster string
	client  *http.Client
	clock   clock.PassiveClock
}

// slackMessage is the body of both methods.
type slackMessage struct {
	Channel string `json:"channel,omitempty"`
	// Text is what a notification on a phone shows.
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
	// Links in what a rollout says are not expanded.
	UnfurlLinks bool `json:"unfurl_links"`
	UnfurlMedia bool `json:"unfurl_media"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
	// Verbatim keeps Slack from making mentions and links of what others wrote.
	Verbatim bool `json:"verbatim"`
}

func markdown(text string) slackText { return slackText{Type: "mrkdwn", Text: text, Verbatim: true} }

// Send implements Sender.
func (s *slack) Send(ctx context.Context, e *news.Event, secrets Secrets) error {
	request, failure := s.request(ctx, e, secrets)
	if failure != nil {
		return failure
	}
	got, failure := exchange(s.client, request, s.clock.Now())
	if failure != nil {
		return failure
	}
	if s.config.TokenKey == "" {
		return nil
	}
	return accepted(got)
}

func (s *slack) request(ctx context.Context, e *news.Event, secrets Secrets) (*http.Request, *Error) {
	key, address := s.config.WebhookKey, ""
	if s.config.TokenKey != "" {
		key, address = s.config.TokenKey, strings.TrimSuffix(s.config.APIURL, "/")+"/chat.postMessage"
	}
	secret, failure := bearer(ctx, secrets, key)
	if failure != nil {
		return nil, failure
	}
	if address == "" {
		address = secret
		if err := rules.CheckAddress(address, true); err != nil {
			return nil, final("key %s of the Secret: %v", key, err)
		}
	}
	body, err := json.Marshal(s.message(e))
	if err != nil {
		return nil, final("the message cannot be written as JSON")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, final("wanted an address of Slack, found something else; correct it")
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	if s.config.TokenKey != "" {
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	return request, nil
}

// slackWord is what Slack calls an error.
var slackWord = regexp.MustCompile(`^[a-z_]{1,60}$`)

// passing are errors of Slack that pass by themselves.
var passing = []string{"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}

// accepted reads what the API says in an answer that is good by its status.
func accepted(got answer) error {
	var said struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(got.body, &said); err != nil {
		return &Error{What: "Slack's answer is not that of its API; look at apiURL"}
	}
	switch {
	case said.OK:
		return nil
	case slices.Contains(passing, said.Error):
		return &Error{What: "Slack answered " + said.Error, After: got.after}
	case slackWord.MatchString(said.Error):
		return final("Slack answered %s; see https://docs.slack.dev/reference/methods/chat.postMessage#errors", said.Error)
	}
	return final("Slack refused the message without a reason that is known")
}

// message lays an event out: what happened, why, what to do, and what it is about.
func (s *slack) message(e *news.Event) slackMessage {
	title := escape(e.Title())
	blocks := []slackBlock{section(fmt.Sprintf("%s *%s*", icon(e), title))}
	if e.Text != "" {
		blocks = append(blocks, section(escape(e.Text)))
	}
	if e.Why != "" {
		blocks = append(blocks, section(fmt.Sprintf("*Why* `%s`\n%s", verbatim(e.Code), quote(e.Why))))
	}
	if e.Remedy != "" {
		blocks = append(blocks, section(fmt.Sprintf("*To do*\n`%s`", verbatim(e.Remedy))))
	}
	about := fmt.Sprintf("Rollout %s, revision %s, template %s", e.Rollout, e.Revision, e.Template)
	if s.cluster != "" {
		about = "Cluster " + s.cluster + ": " + about
	}
	blocks = append(blocks, slackBlock{Type: "context", Elements: []slackText{markdown(escape(about))}})
	return slackMessage{Channel: s.config.Channel, Text: title, Blocks: blocks}
}

func section(text string) slackBlock {
	return slackBlock{Type: "section", Text: new(markdown(text))}
}

// icon is how an event looks from afar.
func icon(e *news.Event) string {
	switch {
	case e.Kind == news.Succeeded:
		return ":white_check_mark:"
	case e.Kind == news.Waiting:
		return ":raised_hand:"
	case e.Severity == news.Error:
		return ":red_circle:"
	case e.Severity == news.Warning:
		return ":warning:"
	}
	return ":information_source:"
}

// escape replaces the three characters by which mrkdwn begins mentions, links and entities
// (docs.slack.dev, "Formatting message text"), and cuts what is longer than
// a block may be.
func escape(text string) string { return written(text, "\n") }

// quote marks each line as another's words.
func quote(text string) string { return "> " + written(text, "\n> ") }

// written escapes text, with newline in the place of each end of a line.
func written(text, newline string) string {
	var out strings.Builder
	for _, r := range text {
		piece := string(r)
		switch r {
		case '&':
			piece = "&amp;"
		case '<':
			piece = "&lt;"
		case '>':
			piece = "&gt;"
		case '\n':
			piece = newline
		case utf8.RuneError:
			piece = "?"
		}
		if out.Len()+len(piece) > maxSection {
			out.WriteString("…")
			break
		}
		out.WriteString(piece)
	}
	return out.String()
}

// verbatim is text between backticks.
func verbatim(text string) string {
	return strings.NewReplacer("`", "'", "\n", " ").Replace(escape(text))
}
