# METADATA
# title: Freeze windows
# description: |
#   Exposure does not rise in the windows of parameters.windows. A window is recurring, by
#   weekday and time of day in a zone, or fixed, from one moment to another. The message
#   says when the next opening is. README.md describes the parameters.
package tidegate.freeze_windows

deny contains {"code": "TG-FREEZE-WINDOW", "msg": msg, "fix": fix, "until": until} if {
	count(mistakes) == 0
	not excepted
	count(closed) > 0
	opening := min(openings)
	until := time.format([opening, "UTC", rfc3339])
	msg := sprintf("%s: wanted a time outside of every freeze window, found %s in %s; it opens on %s", [
		asked,
		told(now),
		concat(" and ", [described(windows[i]) | some i in sort(closed)]),
		told(opening),
	])
	fix := "wait, it goes on by itself then; an abort and a rollback are never held; for an exception ask the platform team, whose parameters.exceptions say who has one"
}

# A pattern of windows that never opens, such as all days of the week.
deny contains {"code": "TG-FREEZE-WINDOW", "msg": msg, "fix": fix} if {
	count(mistakes) == 0
	not excepted
	count(closed) > 0
	count(openings) == 0
	msg := sprintf("%s: wanted a time outside of every freeze window, found that %s never open", [
		asked,
		concat(" and ", [described(windows[i]) | some i in sort(closed)]),
	])
	fix := "ask the platform team to shorten parameters.windows"
}

# A window that cannot be read is not taken for one that is open.
deny contains {"code": "TG-FREEZE-WINDOW", "msg": msg, "fix": fix} if {
	some msg in mistakes
	fix := "kubectl edit deploypolicy, the one that this message names"
}

default windows := []

windows := input.parameters.windows if is_array(input.parameters.windows)

default exceptions := []

exceptions := input.parameters.exceptions if is_array(input.parameters.exceptions)

rfc3339 := "2006-01-02T15:04:05Z07:00"

minute := 60000000000

week := 10080

days := {"Sun": 0, "Mon": 1, "Tue": 2, "Wed": 3, "Thu": 4, "Fri": 5, "Sat": 6}

now := time.parse_rfc3339_ns(input.time)

default home := "UTC"

home := input.parameters.zone

zone(w) := object.get(w, "zone", home)

told(ns) := time.format([ns, home, "Mon 2 Jan 2006 15:04 MST"])

asked := sprintf("wave %s of template %s", [input.wave.name, input.template.name]) if {
	input.wave
} else := sprintf("Release %s/%s to %d %%", [input.release.namespace, input.release.name, input.rollout.weight]) if {
	input.rollout
} else := "the rise of exposure"

described(w) := sprintf("window %q (%s)", [object.get(w, "name", sprintf("%s to %s", [w.from, w.to])), w.reason]) if {
	w.reason
} else := sprintf("window %q", [object.get(w, "name", sprintf("%s to %s", [w.from, w.to]))])

# Fixed windows, in nanoseconds: from is in them, to is not.
fixed contains {"window": i, "from": from, "to": to} if {
	some i, w in windows
	is_moment(w.from)
	is_moment(w.to)
	from := time.parse_rfc3339_ns(w.from)
	to := time.parse_rfc3339_ns(w.to)
}

# Recurring windows, in minutes of the week in their zone, counted from Sunday 00:00. To is
# after from, and so beyond the end of the week where a window passes it.
recurring contains {"window": i, "zone": zone(w), "from": from, "to": after(from, to)} if {
	some i, w in windows
	is_weekly(w.from)
	is_weekly(w.to)
	from := weekly(w.from)
	to := weekly(w.to)
}

recurring contains {"window": i, "zone": zone(w), "from": (days[day] * 1440) + from, "to": (days[day] * 1440) + to} if {
	some i, w in windows
	is_daily(w.from)
	is_daily(w.to)
	from := daily(w.from)
	to := next_day(from, daily(w.to))
	some day in object.get(w, "days", object.keys(days))
}

after(from, to) := to if to > from

else := to + week

next_day(from, to) := to if to > from

else := to + 1440

is_moment(text) if {
	is_string(text)
	regex.match(`^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(Z|[+-]\d{2}:\d{2})$`, text)
}

is_weekly(text) if {
	is_string(text)
	regex.match(`^(Sun|Mon|Tue|Wed|Thu|Fri|Sat) (([01]\d|2[0-3]):[0-5]\d|24:00)$`, text)
}

is_daily(text) if {
	is_string(text)
	regex.match(`^(([01]\d|2[0-3]):[0-5]\d|24:00)$`, text)
}

# A leading 1 keeps 08 from being read as an octal number.
number(digits) := to_number(concat("", ["1", digits])) - 100

daily(text) := (number(substring(text, 0, 2)) * 60) + number(substring(text, 3, 2))

weekly(text) := (days[substring(text, 0, 3)] * 1440) + daily(substring(text, 4, 5))

minute_of_week(ns, tz) := (((days[substring(time.weekday([ns, tz]), 0, 3)] * 24) + hour) * 60) + minutes if {
	[hour, minutes, _] := time.clock([ns, tz])
}

closed := closed_at(now)

closed_at(ns) := ({f.window | some f in fixed; f.from <= ns; ns < f.to} | {s.window |
	some tz, spans in by_zone
	m := minute_of_week(ns, tz)
	some s in spans
	s.from <= m
	m < s.to
}) | {r.window |
	some tz in zones
	back := turned_back(ns, tz)
	some r in recurring
	r.zone == tz
	repeated(ns, tz, back, r)
}

zones := {r.zone | some r in recurring}

# Recurring windows by zone, each cut into what is of one week.
by_zone[r.zone] contains {"window": r.window, "from": from, "to": to} if {
	some r in recurring
	some shift in [0, week]
	from := max([0, r.from - shift])
	to := min([week, r.to - shift])
	from < to
}

# Where the clocks go back, some of the time on the wall comes twice. A window that begins or
# ends there begins with the first and ends with the second, and nothing rises in between:
# where its last minute has been and comes again,
repeated(ns, tz, back, r) if {
	twice(ns, ns + (back * minute), tz)
	ago := ((minute_of_week(ns, tz) - r.to) + (2 * week)) % week
	ago < back
	last := ns - ((ago + 1) * minute)
	twice(last, last + (back * minute), tz)
}

# and where its first minute comes and has been.
repeated(ns, tz, back, r) if {
	twice(ns - (back * minute), ns, tz)
	away := ((r.from - minute_of_week(ns, tz)) + week) % week
	away < back
	first := ns + (away * minute)
	twice(first - (back * minute), first, tz)
}

twice(a, b, tz) if minute_of_week(a, tz) == minute_of_week(b, tz)

# By how many minutes the clocks are turned back within three hours of a moment.
turned_back(ns, tz) := back if {
	some [a, b] in [[ns - (180 * minute), ns], [ns, ns + (180 * minute)]]
	back := 180 - passed(a, b, tz)
	back > 0
}

# How many minutes pass on the wall, which is less than a week.
passed(a, b, tz) := ((minute_of_week(b, tz) - minute_of_week(a, tz)) + week) % week

# A freeze can only end where a window ends: at the end of a fixed one, or where a recurring
# one ends next after now or after the end of a fixed one. The clocks may be changed in
# between: the time of day is looked at again there, and where it comes twice.
openings contains ns if {
	some ns in ends
	ns > now
	count(closed_at(ns)) == 0
}

ends contains ns if some ns in anchors

ends contains ns if {
	some e in recurring_ends
	some ns in {e.guess, e.guess + (e.off * minute)}
}

ends contains ns if {
	some e in recurring_ends
	ns := e.guess + (turned_back(e.guess, e.zone) * minute)
}

# An end that the clocks skip is where they are put forward.
ends contains ns if {
	some e in recurring_ends
	e.off < 0
	minute_of_week(e.guess + (e.off * minute), e.zone) != e.to
	some i in numbers.range(e.off + 1, 0)
	ns := e.guess + (i * minute)
	passed(ns - minute, ns, e.zone) > 1
}

# Where a recurring window ends if the clocks are not changed, and by how many minutes that is
# off; also where its end, which has been, comes again.
recurring_ends contains {"zone": tz, "to": to, "guess": guess, "off": off} if {
	some tz in zones
	tos := {to | some r in recurring; r.zone == tz; to := r.to % week}
	some anchor in anchors
	m := minute_of_week(anchor, tz)
	some late in ({0} | {back | back := turned_back(anchor, tz)})
	some to in tos
	guess := (anchor - (anchor % minute)) + (((((to - m) + late) + week) % week) * minute)
	off := ((((to - minute_of_week(guess, tz)) + week) + 5040) % week) - 5040
}

anchors := {now} | {f.to | some f in fixed; f.to > now}

# Who turned back from a template revision is not to be kept on it.
excepted if input.rollout.rollback

excepted if {
	some e in exceptions
	is_object(e)
	count(e) > 0
	every kind, wanted in e {
		meets(kind, wanted)
	}
}

meets("namespaces", patterns) if {
	some p in patterns
	glob.match(p, null, input.release.namespace)
}

meets("namespaceLabels", wanted) if {
	count(wanted) > 0
	every k, v in wanted {
		input.namespace.labels[k] == v
	}
}

# Labels of a Release are its team's to set, so they except nobody; its name is.
meets("releases", patterns) if {
	some p in patterns
	glob.match(p, null, sprintf("%s/%s", [input.release.namespace, input.release.name]))
}

meets("first", true) if input.rollout.first

mistakes contains "wanted input.time, found none; list this policy at: [promotion] alone" if not input.time

mistakes contains "parameters.windows: wanted at least one window, found none" if count(windows) == 0

mistakes contains sprintf("parameters.windows: wanted at most 30, found %d", [count(windows)]) if count(windows) > 30

mistakes contains sprintf("parameters.windows[%d]: wanted an object, found %v", [i, w]) if {
	some i, w in windows
	not is_object(w)
}

mistakes contains msg if {
	some i, w in windows
	is_object(w)
	not readable(w)
	msg := sprintf("parameters.windows[%d]: wanted from and to both like 18:00, both like \"Fri 16:00\", or both like 2026-12-20T00:00:00Z, found from %v to %v", [i, object.get(w, "from", "nothing"), object.get(w, "to", "nothing")])
}

mistakes contains msg if {
	some i, w in windows
	is_object(w)
	some key in (object.keys(w) - {"name", "reason", "zone", "days", "from", "to"})
	msg := sprintf("parameters.windows[%d]: wanted name, reason, zone, days, from or to, found %s", [i, key])
}

# A window that is of no days would never close.
mistakes contains sprintf("parameters.windows[%d].days: wanted a list of days, or no days at all for every day, found %v", [i, w.days]) if {
	some i, w in windows
	is_object(w)
	"days" in object.keys(w)
	not lists(w.days)
}

mistakes contains msg if {
	some i, w in windows
	lists(w.days)
	some day in w.days
	not day in object.keys(days)
	msg := sprintf("parameters.windows[%d].days: wanted Mon, Tue, Wed, Thu, Fri, Sat or Sun, found %v", [i, day])
}

mistakes contains msg if {
	some i, w in windows
	lists(w.days)
	not is_daily(w.from)
	msg := sprintf("parameters.windows[%d].days: wanted days only beside from and to like 18:00, found from %v", [i, w.from])
}

mistakes contains msg if {
	some f in fixed
	f.to <= f.from
	msg := sprintf("parameters.windows[%d]: wanted to after from, found from %s to %s", [f.window, windows[f.window].from, windows[f.window].to])
}

mistakes contains sprintf("parameters.exceptions[%d]: wanted an object, found %v", [i, e]) if {
	some i, e in exceptions
	not is_object(e)
}

mistakes contains msg if {
	some i, e in exceptions
	is_object(e)
	some key in (object.keys(e) - {"namespaces", "namespaceLabels", "releases", "first"})
	msg := sprintf("parameters.exceptions[%d]: wanted namespaces, namespaceLabels, releases or first, found %s", [i, key])
}

lists(value) if {
	is_array(value)
	count(value) > 0
}

readable(w) if {
	is_moment(w.from)
	is_moment(w.to)
}

readable(w) if {
	is_weekly(w.from)
	is_weekly(w.to)
}

readable(w) if {
	is_daily(w.from)
	is_daily(w.to)
}
