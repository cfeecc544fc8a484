package notify

import (
	"context"
	"errors"
	"sync"

	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/notify/send"
)

// Arrival is what became of a test message.
type Arrival struct {
	// Sink is its name, Kind the field that says what it is: slack, webhook or url.
	Sink, Kind string
	// Why is why the sink did not take the message, without a secret in it; empty where it did.
	Why string
}

// Trial says what test messages need.
type Trial struct {
	// Namespace is that of the Secrets: the manager's.
	Namespace string
	// Secrets returns what reads the keys of the Secret named.
	Secrets func(name string) send.Secrets
	// Clock tells the time.
	Clock clock.PassiveClock
}

// Send sends one message to each of sinks, all at once and each once, as the manager would, and
// returns what became of them in the order of sinks. cluster is how messages call the cluster.
func (t Trial) Send(ctx context.Context, sinks []rules.Sink, cluster string) []Arrival {
	out := make([]Arrival, len(sinks))
	var all sync.WaitGroup
	for i := range sinks {
		all.Go(func() { out[i] = t.one(ctx, &sinks[i], cluster) })
	}
	all.Wait()
	return out
}

func (t Trial) one(ctx context.Context, s *rules.Sink, cluster string) Arrival {
	out := Arrival{Sink: s.Name, Kind: kindOf(s)}
	sender, err := send.New(s, cluster, t.Clock)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, s.Timeout.Duration)
		defer cancel()
		err = sender.Send(ctx, news.OfTest(t.Namespace, s.Name, t.Clock.Now()), t.Secrets(s.SecretName))
	}
	if err != nil {
		out.Why = "the sink cannot be used"
		if failure, ok := errors.AsType[*send.Error](err); ok {
			out.Why = failure.What
		}
	}
	return out
}

func kindOf(s *rules.Sink) string {
	switch {
	case s.Slack != nil:
		return "slack"
	case s.Webhook != nil:
		return "webhook"
	}
	return "url"
}
