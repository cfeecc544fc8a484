package sync

import (
	"fmt"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Phases of a wave.
const (
	waveWaiting = "Waiting"
	waveSyncing = "Syncing"
	waveSoaking = "Soaking"
	waveHalted  = "Halted"
	waveDone    = v1alpha1.WaveDone
)

const (
	// maxWaiting is how many Releases the status names.
	maxWaiting = 50
	// maxMessage bounds, in bytes, what is said of one of them.
	maxMessage = 300
)

// report fills in what is there for people.
func (t *turn) report() {
	t.st.Drifted = 0
	for i := range t.o.Releases {
		if t.o.Releases[i].Drifted {
			t.st.Drifted++
		}
	}
	t.st.Waves = make([]v1alpha1.WaveStatus, len(t.waves))
	for w, n := range t.tallies {
		t.st.Waves[w] = v1alpha1.WaveStatus{
			Name: t.waves[w].Name, Phase: t.wavePhase(count(w + 1)), Releases: count(n.releases),
			Settled: count(n.settled), Moving: count(n.moving), Failed: count(n.failed),
			Excused: count(n.excused), Forgiven: t.forgiven[w],
		}
	}
	t.waiting()
}

// wavePhase is where a wave, counted from 1, stands.
func (t *turn) wavePhase(wave int32) string {
	switch {
	case wave > t.st.Wave:
		return waveWaiting
	case wave < t.st.Wave || t.st.Phase == v1alpha1.SyncSynced:
		return waveDone
	case t.st.Phase == v1alpha1.SyncPaused && t.done:
		return waveDone
	case t.st.Phase == v1alpha1.SyncHalted:
		return waveHalted
	case t.st.SettledAt == nil:
		return waveSyncing
	}
	return waveSoaking
}

// ranksOf is the order in which Releases are named: what needs somebody comes first.
var ranksOf = []struct {
	state state
	word  string
}{
	{failed, "Failed"},
	{queued, "Held"},
	{paused, "Paused"},
	{broken, "Broken"},
	{late, "Late"},
	{moving, "Moving"},
	{installing, "Queued"},
	{queued, "Queued"},
	{staying, "Queued"},
}

// waiting names Releases that are not on the target, the most important first.
func (t *turn) waiting() {
	t.st.Waiting = nil
	for _, rank := range ranksOf {
		for _, wave := range t.wavesInOrder() {
			for _, i := range wave {
				if t.sights[i].state != rank.state || rank.state == queued && t.holds(i) != (rank.word == "Held") {
					continue
				}
				if len(t.st.Waiting) == maxWaiting {
					return
				}
				t.st.Waiting = append(t.st.Waiting, t.wait(i, rank.word))
			}
		}
	}
}

// holds says whether it is the policies that keep the target from a Release.
func (t *turn) holds(i int) bool { return t.held && t.sights[i].wave <= int(t.st.Wave) }

// wavesInOrder returns the Releases of each wave.
func (t *turn) wavesInOrder() [][]int {
	out := make([][]int, len(t.waves))
	for _, place := range t.order {
		if w := t.sights[place.index].wave; w > 0 {
			out[w-1] = append(out[w-1], place.index)
		}
	}
	return out
}

func (t *turn) wait(i int, word string) v1alpha1.WaitingRelease {
	r, s := &t.o.Releases[i], &t.sights[i]
	message := s.message
	switch {
	case word == "Held":
		message = "a policy holds wave " + t.waves[t.st.Wave-1].Name
	case s.state == queued && s.wave > int(t.st.Wave):
		message = fmt.Sprintf("waits for wave %s to begin", t.waves[s.wave-1].Name)
	case s.state == queued && (t.st.Phase == v1alpha1.SyncPaused || t.st.Phase == v1alpha1.SyncHalted):
		message = "the sync is " + strings.ToLower(string(t.st.Phase))
	case s.state == queued:
		message = "others are under way"
	}
	return v1alpha1.WaitingRelease{
		Namespace: r.Namespace, Name: r.Name, Wave: t.waves[s.wave-1].Name, Revision: r.Has,
		State: word, Message: clip(message, maxMessage),
	}
}

// clip shortens text to at most limit bytes, at a whole character.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("...")], "") + "..."
}
