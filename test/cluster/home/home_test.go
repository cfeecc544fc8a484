package home

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidegate.io/tidegate/test/cluster/flock"
	"tidegate.io/tidegate/test/cluster/proc"
)

func TestAClaimedNameAndItsNumbersAreOnesOwn(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx := t.Context()
	first, err := Claim(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(ctx, "one"); err == nil || !strings.Contains(err.Error(), "down --name one") {
		t.Errorf("a name was claimed twice: %v", err)
	}
	second, err := Claim(ctx, "two")
	if err != nil {
		t.Fatal(err)
	}
	if first.PodCIDR() != "10.64.0.0/16" || second.PodCIDR() != "10.65.0.0/16" {
		t.Errorf("pods at %s and %s", first.PodCIDR(), second.PodCIDR())
	}
	if first.ServiceCIDR() != "172.20.0.0/20" || second.ServiceCIDR() != "172.20.16.0/20" {
		t.Errorf("services at %s and %s", first.ServiceCIDR(), second.ServiceCIDR())
	}
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	again, err := Claim(ctx, "one")
	if err != nil || again.slot.number != firstSlot {
		t.Fatalf("a released name and number cannot be had again: %v", err)
	}
	for _, name := range []string{"", "../etc", "Upper", "a/b", "-a", strings.Repeat("x", 60)} {
		if _, err := Claim(ctx, name); err == nil {
			t.Errorf("%q is no name", name)
		}
	}
}

func TestAServiceRangeStaysInItsNet(t *testing.T) {
	_, all, _ := net.ParseCIDR("172.16.0.0/12")
	seen := map[string]bool{}
	for n := firstSlot; n <= lastSlot; n++ {
		s := slot{number: n}
		ip, ipnet, err := net.ParseCIDR(s.serviceCIDR())
		if err != nil || !all.Contains(ip) || !ipnet.IP.Equal(ip) || seen[ip.String()] {
			t.Errorf("slot %d: %s %v", n, s.serviceCIDR(), err)
		}
		seen[ip.String()] = true
	}
}

func TestATakenPortIsPassedOver(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s, err := claimSlot()
	if err != nil {
		t.Fatal(err)
	}
	// Whatever runs beside this test, the port after the next one is taken now.
	probe := *s
	for range 2 {
		if _, err := probe.port(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	port := firstPort + (s.number-firstSlot)*portsPerSlot + probe.used - 1
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", Address(port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		if p, err := s.port(t.Context()); err != nil || p == port {
			t.Errorf("got port %d, %v; %d is taken", p, err, port)
		}
	}
	s.used = portsPerSlot
	if _, err := s.port(t.Context()); err == nil {
		t.Error("more ports than a slot has")
	}
}

func TestSweepRemovesTheDeadOnly(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx := t.Context()
	living, err := Claim(ctx, "living")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(living.Dir)
	// A stray of a dead cluster, and a stranger that has the number of one that ended.
	sleeper := func() *proc.Process {
		p, err := proc.Start(proc.Spec{Path: "/bin/sleep", Args: []string{"60"}, LogPath: filepath.Join(t.TempDir(), "log")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Stop(t.Context(), 0) })
		return p
	}
	stray, stranger := sleeper(), sleeper()
	recycled := stranger.Identity()
	recycled.Start = "an earlier boot/1"
	dead := State{Name: "dead", Dir: filepath.Join(root, "dead"), Owner: recycled, Components: []ComponentState{
		{Name: "etcd", Process: stray.Identity()}, {Name: "kwok", Process: recycled},
	}}
	if err := os.MkdirAll(filepath.Join(dead.Dir, "etcd", "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := dead.Write(); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead cluster's directory is left: %v", err)
	}
	if stray.Identity().Alive() {
		t.Error("a process of the dead cluster lives on")
	}
	if !stranger.Identity().Alive() {
		t.Error("a stranger was killed")
	}
	if _, err := flock.Try(filepath.Join(living.Dir, lockFile)); !errors.Is(err, flock.ErrHeld) {
		t.Errorf("the living cluster lost its lock: %v", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestTheStateIsReadAsItWasWritten(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h, err := Claim(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	me, err := proc.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := State{Name: "one", Dir: h.Dir, Owner: me, Ready: true, APIServerURL: "https://127.0.0.1:1"}
	if err := want.Write(); err != nil {
		t.Fatal(err)
	}
	got, err := Read("one")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got %s, want %s", a, b)
	}
	names, err := Running()
	if err != nil || len(names) != 1 || names[0] != "one" {
		t.Errorf("running: %v, %v", names, err)
	}
}
