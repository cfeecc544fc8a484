package simulate

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// entry reads one entry of the timeline: when it happens, and exactly one event.
func (p *parser) entry(n *yaml.Node, path string) {
	e := Entry{Line: p.before + n.Line, At: -1, After: -1}
	event := func(read func(n *yaml.Node, path string) Event) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			was := len(p.problems)
			next := read(n, path)
			if e.Event != nil && len(p.problems) == was {
				p.failf(n, path, "wanted one event in an entry, found another; give it an entry of its own")
			}
			e.Event = next
		}
	}
	seen := p.fields(n, path,
		field{"at", p.duration(&e.At, 0)},
		field{"when", func(n *yaml.Node, path string) { e.When = p.condition(n, path) }},
		field{"after", p.duration(&e.After, 0)},
		field{"verdict", event(p.verdictEvent)},
		field{"pods", event(p.podsEvent)},
		field{"command", event(p.commandEvent)},
		field{"release", event(p.releaseEvent)},
		field{"gateway", event(p.gatewayEvent)},
		field{"route", event(p.routeEvent)},
		field{"shared", event(p.sharedEvent)},
		field{"policy", event(p.policyEvent)},
		field{"hook", event(p.hookEvent)},
		field{"job", event(p.jobEvent)},
		field{"manager", event(p.managerEvent)},
		field{"unread", event(p.unreadEvent)},
		field{"writes", event(p.writesEvent)},
		field{"load", event(p.loadEvent)},
		field{"clock", event(p.clockEvent)},
	)
	last := time.Duration(0)
	for _, before := range p.s.Timeline {
		last = max(last, before.At)
	}
	switch {
	case (seen["at"] != nil) == (seen["when"] != nil):
		p.failf(n, path, "wanted either at or when, found %s; write the one that is meant", map[bool]string{true: "both", false: "neither"}[seen["at"] != nil])
	case seen["after"] != nil && seen["when"] == nil:
		p.failf(n, path+".after", "wanted a condition that it comes after, found none; write when beside it, or at in its place")
	case e.At >= 0 && e.At < last:
		p.failf(n, path+".at", "wanted at least %s, since entries happen in order, found %s; move it up", short(last), short(e.At))
	case e.Event == nil && len(p.problems) == 0:
		p.failf(n, path, "wanted an event, found none; write one such as verdict: Fail")
	}
	e.After = max(e.After, 0)
	p.s.Timeline = append(p.s.Timeline, e)
}

func (p *parser) verdictEvent(n *yaml.Node, path string) Event {
	var e verdictEvent
	if n.Kind != yaml.MappingNode {
		orFields(p.reader, &e.is, "{is: Fail, message: WHY}", verdicts...)(n, path)
		return e
	}
	p.fields(n, path, field{"is", oneOf(p.reader, &e.is, verdicts...)}, field{"message", p.text(&e.message)})
	if e.is == "" {
		p.failf(n, path+".is", "wanted a verdict, found none; write is: Fail or another")
	}
	return e
}

// count reads a number of pods, or all.
func (p *parser) count(into *int32) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n.Value == "all" {
			*into = everyPod
			return
		}
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if n.Kind != yaml.ScalarNode || err != nil || i < 1 || i > int64(maxPods) {
			p.failf(n, path, "wanted a number of pods from 1 to %d, or all, found %s; write one of these", maxPods, what(n))
			return
		}
		*into = int32(i)
	}
}

func (p *parser) podsEvent(n *yaml.Node, path string) Event {
	e := podsEvent{set: whichNew, scale: -1}
	seen := p.fields(n, path,
		field{"set", oneOf(p.reader, &e.set, whichNew, whichStable, whichBaseline)},
		field{"fail", p.count(&e.fail)},
		field{"lose", p.count(&e.lose)},
		field{"stuck", p.flag(&e.stuck)},
		field{"recover", p.flag(&e.recovers)},
		field{"start", p.duration(&e.start, time.Second)},
		field{"scale", p.number(&e.scale, 0, maxPods)},
		field{"edited", p.flag(&e.edited)},
		field{"deleted", p.flag(&e.deleted)},
	)
	if delete(seen, "set"); len(seen) == 0 && n.Kind == yaml.MappingNode {
		p.failf(n, path, "wanted what befalls the pods, found nothing; write fail, lose, stuck, recover, start, scale, edited or deleted")
	}
	if e.set == whichStable && p.s.Stable == nil {
		p.failf(n, path+".set", "wanted a set that is there, found stable in a first install; write stable at the top, or another set")
	}
	return e
}

var actions = []v1alpha1.CommandAction{
	v1alpha1.CommandApprove, v1alpha1.CommandPause, v1alpha1.CommandResume, v1alpha1.CommandAbort,
	v1alpha1.CommandSkipStep, v1alpha1.CommandPromote, v1alpha1.CommandRetry, v1alpha1.CommandRollBack,
}

func (p *parser) commandEvent(n *yaml.Node, path string) Event {
	e := commandEvent{actor: "alice"}
	if n.Kind != yaml.MappingNode {
		orFields(p.reader, &e.action, "{action: approve, step: 2}", actions...)(n, path)
		return e
	}
	p.fields(n, path,
		field{"action", oneOf(p.reader, &e.action, actions...)},
		field{"step", p.number(&e.step, 1, maxPods)},
		field{"actor", p.text(&e.actor)},
		field{"reason", p.text(&e.reason)},
		field{"rollout", p.text(&e.rollout)},
	)
	if e.action == "" {
		p.failf(n, path+".action", "wanted an action, found none; write action: approve or another")
	}
	return e
}

func (p *parser) releaseEvent(n *yaml.Node, path string) Event {
	e := releaseEvent{revision: "v3", replicas: max(p.s.Replicas, 0)}
	if p.s.Replicas < 0 && p.s.Stable != nil {
		e.replicas = p.s.Stable.Replicas
	}
	if n.Kind == yaml.ScalarNode {
		p.text(&e.revision)(n, path)
		return e
	}
	p.fields(n, path,
		field{"revision", p.text(&e.revision)},
		field{"replicas", p.number(&e.replicas, 0, maxPods)},
		field{"strategy", func(n *yaml.Node, path string) {
			s := p.checked(n, path)
			if p.s.Strategy.Type.InSets() != s.Type.InSets() {
				p.failf(n, path+".type", "wanted a strategy that keeps revisions as the one before does, found %q after %q; write a scenario of its own for the change, with stable.strategy", s.Type, p.s.Strategy.Type)
			}
			e.strategy = &s
		}},
	)
	return e
}

func (p *parser) gatewayEvent(n *yaml.Node, path string) Event {
	e := gatewayEvent{after: p.s.Defaults.Accept}
	if n.Kind != yaml.MappingNode {
		word := ""
		orFields(p.reader, &word, "{after: 20s}", "accepts", "refuses")(n, path)
		e.refuses = word == "refuses"
		return e
	}
	p.fields(n, path, field{"after", p.duration(&e.after, 0)})
	return e
}

func (p *parser) routeEvent(n *yaml.Node, path string) Event {
	e := routeEvent{weight: -1}
	if n.Kind != yaml.MappingNode {
		word := ""
		orFields(p.reader, &word, "{weight: 50}", "edited", "deleted")(n, path)
		e.edited, e.deleted = word == "edited", word == "deleted"
		return e
	}
	p.fields(n, path, field{"weight", p.number(&e.weight, 0, full)})
	if e.weight < 0 {
		p.failf(n, path, "wanted a weight, found none; write weight: 50, or deleted or edited in the place of the fields")
	}
	return e
}

func (p *parser) sharedEvent(n *yaml.Node, path string) Event {
	var word string
	oneOf(p.reader, &word, "edited")(n, path)
	return sharedEvent{}
}

func (p *parser) policyEvent(n *yaml.Node, path string) Event {
	e := policyEvent{code: "TG-POLICY-DENY"}
	if n.Kind != yaml.MappingNode {
		word := ""
		orFields(p.reader, &word, "{denies: WHY}", "allows", "unanswered")(n, path)
		e.allowed, e.unanswered = word == "allows", word == "unanswered"
		return e
	}
	p.fields(n, path,
		field{"denies", p.text(&e.message)},
		field{"code", p.text(&e.code)},
		field{"for", p.duration(&e.lasts, time.Second)},
	)
	if e.message == "" {
		p.failf(n, path+".denies", "wanted why the policy denies, found nothing; write denies: and a sentence")
	}
	return e
}

func (p *parser) hook(n *yaml.Node, path string, into *HookAnswer) {
	p.fields(n, path,
		field{"name", p.text(&into.Name)},
		field{"answer", oneOf(p.reader, &into.Answer, HookPasses, HookRefuses, HookFails, HookSilent)},
		field{"takes", p.duration(&into.Takes, 0)},
	)
}

func (p *parser) hookEvent(n *yaml.Node, path string) Event {
	e := hookEvent{HookAnswer{Answer: HookPasses, Takes: p.s.Defaults.Hook.Takes}}
	if n.Kind != yaml.MappingNode {
		orFields(p.reader, &e.Answer, "{name: x, answer: fails}", HookPasses, HookRefuses, HookFails, HookSilent)(n, path)
		return e
	}
	p.hook(n, path, &e.HookAnswer)
	known := slices.ContainsFunc(p.s.Strategy.Hooks, func(h v1alpha1.Hook) bool { return h.Name == e.Name })
	if e.Name != "" && p.given && !known {
		p.failf(n, path+".name", "wanted the name of one of the strategy's hooks, found %q; correct it, or leave it out for all of them", e.Name)
	}
	return e
}

func (p *parser) job(n *yaml.Node, path string, into *JobOutcome) {
	p.fields(n, path,
		field{"outcome", oneOf(p.reader, &into.Outcome, JobSucceeds, JobFails, JobHangs)},
		field{"takes", p.duration(&into.Takes, 0)},
	)
}

func (p *parser) jobEvent(n *yaml.Node, path string) Event {
	e := jobEvent{p.s.Defaults.Job}
	if n.Kind != yaml.MappingNode {
		orFields(p.reader, &e.Outcome, "{outcome: fails, takes: 30s}", JobSucceeds, JobFails, JobHangs)(n, path)
		return e
	}
	p.job(n, path, &e.JobOutcome)
	return e
}

func (p *parser) managerEvent(n *yaml.Node, path string) Event {
	e := managerEvent{crashAfter: -1}
	if n.Kind != yaml.MappingNode {
		word := ""
		orFields(p.reader, &word, "{crashAfter: 2}", "down", "up")(n, path)
		e.down, e.up = word == "down", word == "up"
		return e
	}
	seen := p.fields(n, path, field{"crashAfter", p.number(&e.crashAfter, 0, maxPods)}, field{"crashBefore", oneOf(p.reader, &e.crashBefore, kinds...)})
	if len(seen) != 1 {
		p.failf(n, path, "wanted crashAfter or crashBefore, found %d of them; write one, or down or up in the place of the fields", len(seen))
	}
	return e
}

// kinds are those of actions.
var kinds = []plan.ActionKind{
	plan.ActionApplyShared, plan.ActionEnsureSet, plan.ActionSetWeight, plan.ActionRunJob, plan.ActionStopJob,
	plan.ActionCallHook, plan.ActionMeasure, plan.ActionRetire, plan.ActionAnswer,
}

// facts are what can be unreadable.
var facts = []string{string(whichNew), string(whichStable), string(whichBaseline), "route", "shared", "job"}

func (p *parser) unreadEvent(n *yaml.Node, path string) Event {
	var e unreadEvent
	p.items(n, path, func(n *yaml.Node, path string) {
		var one string
		oneOf(p.reader, &one, facts...)(n, path)
		e.facts = append(e.facts, one)
	})
	return e
}

// writes are those of the API server: what is called or measured is none.
var writes = append([]string{writeStatus}, func() (out []string) {
	for _, k := range kinds {
		if k != plan.ActionCallHook && k != plan.ActionMeasure {
			out = append(out, string(k))
		}
	}
	return out
}()...)

func (p *parser) writesEvent(n *yaml.Node, path string) Event {
	var e writesEvent
	if n.Kind != yaml.MappingNode {
		word := ""
		orFields(p.reader, &word, "{fail: [SetWeight]}", "succeed")(n, path)
		return e
	}
	seen := p.fields(n, path, field{"fail", func(n *yaml.Node, path string) {
		p.items(n, path, func(n *yaml.Node, path string) {
			var one string
			oneOf(p.reader, &one, writes...)(n, path)
			e.fail = append(e.fail, one)
		})
	}})
	if len(seen) == 0 {
		p.failf(n, path, "wanted the writes that fail, found none; write fail: [SetWeight], or succeed in the place of the fields")
	}
	return e
}

func (p *parser) loadEvent(n *yaml.Node, path string) Event {
	var e loadEvent
	p.number(&e.pods, 1, maxPods)(n, path)
	if p.s.Load == 0 {
		p.failf(n, path, "wanted a load at the top that says that there are autoscalers, found none; write load there")
	}
	return e
}

func (p *parser) clockEvent(n *yaml.Node, path string) Event {
	var e clockEvent
	p.duration(&e.by, -longest)(n, path)
	return e
}
