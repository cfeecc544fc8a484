package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Phases of a run.
const (
	phaseIdle    = "idle"
	phaseCost    = "cost"
	phaseReact   = "react"
	phaseBurst   = "burst"
	phaseRestart = "restart"
	phaseCycles  = "cycles"
)

var allPhases = []string{phaseIdle, phaseCost, phaseReact, phaseBurst, phaseRestart, phaseCycles}

// options are what a run is told.
type options struct {
	phases []string
	// sizes are the numbers of Releases, rising; at is the one at which all phases but idle are
	// measured.
	sizes []int
	at    int
	// replicas is how many pods each Release has.
	replicas int
	// idle is how long nothing is done while requests are counted.
	idle time.Duration
	// changes are made one after the other, pace apart.
	changes int
	pace    time.Duration
	// burst are numbers of canaries at once.
	burst []int
	// canaries is over how many the cost of one is taken.
	canaries int
	cycles   int
	// rest is how long nothing is done before memory is compared.
	rest time.Duration
	// limits are of the manager that is measured.
	limits limits
	json   bool
	// keep is a folder for profiles, and for the logs of the manager and of its requests.
	keep string
}

// bringUp are the limits of a manager that only makes Releases.
func (o options) bringUp() limits { return limits{qps: 1000, burst: 2000, concurrency: 16} }

func (o options) wants(phase string) bool { return slices.Contains(o.phases, phase) }

// full are the numbers of the targets.
func (o *options) full() {
	o.idle, o.changes, o.canaries, o.cycles, o.rest = time.Minute, 100, 10, 1000, eventsForgotten+time.Minute
}

// parse reads the flags. What is given beside -full counts.
func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("rollouts", flag.ContinueOnError)
	full := set.Bool("full", false, "the sizes of the targets, up to 5,000 Releases, which takes two hours; flags besides still count")
	texts := o.define(set)
	if err := set.Parse(args); err != nil {
		return o, fmt.Errorf("reading flags: %w", err)
	}
	if *full {
		var given []string
		set.Visit(func(f *flag.Flag) { given = append(given, "-"+f.Name+"="+f.Value.String()) })
		o.full()
		*texts.sizes, *texts.burst = "100,1000,5000", "50,100"
		if err := set.Parse(given); err != nil {
			return o, fmt.Errorf("reading flags: %w", err)
		}
	}
	var errs []error
	o.sizes, o.burst = numbers(*texts.sizes, "sizes", &errs), numbers(*texts.burst, "burst", &errs)
	o.phases = strings.Split(*texts.phases, ",")
	o.json = *texts.format == "json"
	if !o.json && *texts.format != "table" {
		errs = append(errs, fmt.Errorf("wanted -o table or json, found %q", *texts.format))
	}
	return o.checked(errors.Join(errs...))
}

// texts are flags that are read further.
type texts struct{ phases, sizes, burst, format *string }

// define says what flags there are.
func (o *options) define(set *flag.FlagSet) texts {
	set.IntVar(&o.at, "at", 0, "the size at which everything but idle is measured; default: the largest up to 1,000")
	set.IntVar(&o.replicas, "replicas", 1, "pods of each Release")
	set.DurationVar(&o.idle, "idle", 20*time.Second, "how long requests are counted while nothing happens")
	set.IntVar(&o.changes, "changes", 20, "changes after which the first action is waited for")
	set.DurationVar(&o.pace, "pace", 2*time.Second, "time between two of them")
	set.IntVar(&o.canaries, "canaries", 3, "canaries over which the cost of one is taken")
	set.IntVar(&o.cycles, "cycles", 40, "rollouts after which memory is compared")
	set.DurationVar(&o.rest, "rest", 0, "how long nothing is done before memory is compared; client-go remembers each Event for up to 12 minutes")
	set.IntVar(&o.limits.qps, "kube-api-qps", 0, "limit of the measured manager; default: its own")
	set.IntVar(&o.limits.burst, "kube-api-burst", 0, "limit of the measured manager; default: its own")
	set.IntVar(&o.limits.concurrency, "concurrency", 0, "limit of the measured manager; default: its own")
	set.StringVar(&o.keep, "keep", "", "folder for profiles and logs")
	return texts{
		phases: set.String("phases", strings.Join(allPhases, ","), "what to measure"),
		sizes:  set.String("sizes", "100", "numbers of Releases, rising"),
		burst:  set.String("burst", "10,50", "numbers of canaries at once"),
		format: set.String("o", "table", "table or json"),
	}
}

// numbers reads a list such as 100,1000.
func numbers(text, name string, errs *[]error) []int {
	var out []int
	for each := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(each)
		if err != nil || n < 1 || len(out) > 0 && n <= out[len(out)-1] {
			*errs = append(*errs, fmt.Errorf("wanted -%s as rising numbers such as 100,1000, found %q", name, text))
			return nil
		}
		out = append(out, n)
	}
	return out
}

// checked fills in what follows from the rest, and refuses what cannot be measured.
func (o options) checked(err error) (options, error) {
	if err != nil {
		return o, err
	}
	for _, p := range o.phases {
		if !slices.Contains(allPhases, p) {
			return o, fmt.Errorf("wanted -phases of %s, found %q", strings.Join(allPhases, ","), p)
		}
	}
	if !slices.Contains(o.sizes, o.at) {
		o.at = usual(o.sizes)
	}
	if o.wants(phaseBurst) && o.burst[len(o.burst)-1] > o.at {
		return o, fmt.Errorf("wanted at most as many canaries at once as there are Releases, found -burst %d with %d Releases; give larger -sizes", o.burst[len(o.burst)-1], o.at)
	}
	if o.changes < 1 || o.canaries < 1 || o.cycles < 1 || o.replicas < 0 || o.rest < 0 || o.idle <= 0 {
		return o, errors.New("wanted -changes, -canaries and -cycles of 1 or more, -replicas and -rest of 0 or more and a positive -idle")
	}
	return o, nil
}

// usual is the largest size up to that of most targets, or the smallest.
func usual(sizes []int) int {
	at := sizes[0]
	for _, n := range sizes {
		if n <= usualFleet {
			at = n
		}
	}
	return at
}

// usualFleet is the number of Releases that most targets are about.
const usualFleet = 1000
