package tidegate.freeze_windows_test

import data.tidegate.freeze_windows

weekend := {"name": "weekend", "reason": "nobody is on call", "from": "Fri 16:00", "to": "Mon 08:00"}

nights := {"name": "nights", "from": "18:00", "to": "08:00", "days": ["Mon", "Tue", "Wed", "Thu"]}

year_end := {"name": "year-end", "from": "2026-12-20T00:00:00+01:00", "to": "2027-01-04T00:00:00+01:00"}

asking(at, windows) := {
	"moment": "promotion",
	"time": at,
	"parameters": {"zone": "Europe/Berlin", "windows": windows},
	"release": {"name": "cart", "namespace": "shop", "template": "web", "labels": {"tier": "web"}},
	"namespace": {"name": "shop", "labels": {"freeze": "exempt"}},
	"rollout": {"name": "cart-2", "weight": 25, "first": false},
	"template": {"name": "web"},
}

excepting(exceptions) := object.union(asking("2026-11-21T12:00:00Z", [weekend]), {"parameters": {"exceptions": exceptions}})

until(doc) := u if {
	some d in freeze_windows.deny with input as doc
	u := d.until
}

denials(doc) := n if {
	n := count(freeze_windows.deny) with input as doc
}

mistaken(windows) := msgs if {
	msgs := {d.msg | some d in freeze_windows.deny} with input as asking("2026-11-25T12:00:00Z", windows)
}

test_the_denial_says_what_why_and_when if {
	freeze_windows.deny == {{
		"code": "TG-FREEZE-WINDOW",
		"msg": `Release shop/cart to 25 %: wanted a time outside of every freeze window, found Sat 21 Nov 2026 13:00 CET in window "weekend" (nobody is on call); it opens on Mon 23 Nov 2026 08:00 CET`,
		"fix": "wait, it goes on by itself then; an abort and a rollback are never held; for an exception ask the platform team, whose parameters.exceptions say who has one",
		"until": "2026-11-23T07:00:00Z",
	}} with input as asking("2026-11-21T12:00:00Z", [weekend])
}

test_a_wave_is_named if {
	some d in freeze_windows.deny with input as {
		"time": "2026-11-21T12:00:00Z",
		"parameters": {"windows": [weekend]},
		"template": {"name": "web"},
		"wave": {"name": "canaries"},
	}
	startswith(d.msg, "wave canaries of template web: wanted")
}

test_outside_of_the_windows_it_rises if {
	denials(asking("2026-11-25T12:00:00Z", [weekend, nights, year_end])) == 0
}

test_a_window_begins_on_its_minute_and_ends_before_its_last if {
	denials(asking("2026-11-20T14:59:59Z", [weekend])) == 0
	denials(asking("2026-11-20T15:00:00Z", [weekend])) == 1
	denials(asking("2026-11-23T06:59:59Z", [weekend])) == 1
	denials(asking("2026-11-23T07:00:00Z", [weekend])) == 0
}

test_a_fixed_window_begins_on_its_second_and_ends_before_its_last if {
	denials(asking("2026-12-19T22:59:59Z", [year_end])) == 0
	denials(asking("2026-12-19T23:00:00Z", [year_end])) == 1
	denials(asking("2027-01-03T22:59:59Z", [year_end])) == 1
	denials(asking("2027-01-03T23:00:00Z", [year_end])) == 0
}

test_the_zone_is_that_of_the_window if {
	tokyo := object.union(nights, {"zone": "Asia/Tokyo"})
	denials(asking("2026-11-24T08:59:00Z", [tokyo])) == 0
	until(asking("2026-11-24T09:00:00Z", [tokyo])) == "2026-11-24T23:00:00Z"
}

test_without_a_zone_it_is_utc if {
	doc := object.remove(asking("2026-11-24T17:30:00Z", [nights]), ["parameters"])
	denials(object.union(doc, {"parameters": {"windows": [nights]}})) == 0
	denials(asking("2026-11-24T17:30:00Z", [nights])) == 1
}

test_a_daily_window_passes_midnight if {
	until(asking("2026-11-24T20:00:00Z", [nights])) == "2026-11-25T07:00:00Z"
	until(asking("2026-11-25T05:00:00Z", [nights])) == "2026-11-25T07:00:00Z"
}

test_a_daily_window_is_of_its_days if {
	# Sunday night, and Friday morning after Thursday night.
	denials(asking("2026-11-22T20:00:00Z", [nights])) == 0
	denials(asking("2026-11-27T05:00:00Z", [nights])) == 1
	denials(asking("2026-11-27T20:00:00Z", [nights])) == 0
}

test_a_daily_window_without_days_is_of_all if {
	denials(asking("2026-11-22T20:00:00Z", [{"from": "18:00", "to": "24:00"}])) == 1
}

test_saturday_night_reaches_into_the_next_week if {
	late := {"from": "20:00", "to": "06:00", "days": ["Sat"]}
	until(asking("2026-11-21T22:00:00Z", [late])) == "2026-11-22T05:00:00Z"
	until(asking("2026-11-22T04:00:00Z", [late])) == "2026-11-22T05:00:00Z"
}

test_a_whole_week_never_opens if {
	some d in freeze_windows.deny with input as asking("2026-11-22T20:00:00Z", [{"from": "Mon 00:00", "to": "Mon 00:00"}])
	endswith(d.msg, `found that window "Mon 00:00 to Mon 00:00" never open`)
	not d.until
}

test_windows_that_touch_are_one if {
	evening := {"from": "Fri 10:00", "to": "Fri 16:00"}
	until(asking("2026-11-20T10:00:00Z", [evening, weekend, {"from": "08:00", "to": "09:30", "days": ["Mon"]}])) == "2026-11-23T08:30:00Z"
}

# 4 January 2027 is a Monday.
test_the_end_of_a_fixed_window_may_lie_in_a_recurring_one if {
	until(asking("2026-12-23T10:00:00Z", [year_end, weekend])) == "2027-01-04T07:00:00Z"
}

test_the_clocks_may_change_in_the_window if {
	# Summer time ends on 25 October 2026 and begins on 28 March 2027.
	until(asking("2026-10-24T10:00:00Z", [weekend])) == "2026-10-26T07:00:00Z"
	until(asking("2027-03-27T10:00:00Z", [weekend])) == "2027-03-29T06:00:00Z"
}

# On 28 March 2027 at 01:00 UTC it is 03:00 and not 02:00 in Berlin.
test_a_window_that_ends_at_a_time_that_the_clocks_skip_ends_with_it if {
	to_half_past := [{"from": "Sat 22:00", "to": "Sun 02:30"}]
	until(asking("2027-03-27T20:00:00Z", [{"from": "Sat 20:00", "to": "Sun 02:30"}])) == "2027-03-28T01:00:00Z"
	until(asking("2027-03-27T21:00:00Z", to_half_past)) == "2027-03-28T01:00:00Z"
	until(asking("2027-03-28T00:59:59Z", to_half_past)) == "2027-03-28T01:00:00Z"
	denials(asking("2027-03-28T01:00:00Z", to_half_past)) == 0
	some d in freeze_windows.deny with input as asking("2027-03-27T22:00:00Z", to_half_past)
	endswith(d.msg, "it opens on Sun 28 Mar 2027 03:00 CEST")
}

test_a_window_that_begins_at_a_time_that_the_clocks_skip_begins_with_it if {
	from_half_past := [{"from": "Sun 02:30", "to": "Sun 06:00"}]
	denials(asking("2027-03-28T00:59:59Z", from_half_past)) == 0
	until(asking("2027-03-28T01:00:00Z", from_half_past)) == "2027-03-28T04:00:00Z"
}

# In Santiago the clocks are put forward at midnight from Saturday to Sunday.
test_the_clocks_may_skip_the_end_of_the_week if {
	night := [{"from": "Sat 20:00", "to": "Sun 00:30", "zone": "America/Santiago"}]
	until(asking("2026-09-06T02:00:00Z", night)) == "2026-09-06T04:00:00Z"
}

# On 31 October 2027 it is 02:00 to 03:00 in Berlin twice, from 00:00 UTC to 02:00 UTC.
test_a_window_that_ends_at_a_time_that_comes_twice_ends_with_the_second if {
	to_half_past := [{"from": "Sat 22:00", "to": "Sun 02:30"}]
	every at in ["2027-10-30T20:00:00Z", "2027-10-31T00:29:00Z", "2027-10-31T00:30:00Z", "2027-10-31T00:59:59Z", "2027-10-31T01:00:00Z", "2027-10-31T01:29:59Z"] {
		until(asking(at, to_half_past)) == "2027-10-31T01:30:00Z"
	}
	denials(asking("2027-10-31T01:30:00Z", to_half_past)) == 0
	denials(asking("2027-10-30T19:59:59Z", to_half_past)) == 0
	some d in freeze_windows.deny with input as asking("2027-10-31T00:45:00Z", to_half_past)
	endswith(d.msg, "it opens on Sun 31 Oct 2027 02:30 CET")
}

test_a_window_that_begins_at_a_time_that_comes_twice_begins_with_the_first if {
	from_half_past := [{"from": "Sun 02:30", "to": "Sun 06:00"}]
	denials(asking("2027-10-31T00:29:59Z", from_half_past)) == 0
	every at in ["2027-10-31T00:30:00Z", "2027-10-31T00:59:59Z", "2027-10-31T01:00:00Z", "2027-10-31T01:29:59Z", "2027-10-31T01:30:00Z"] {
		until(asking(at, from_half_past)) == "2027-10-31T05:00:00Z"
	}
}

test_a_window_within_the_time_that_comes_twice_is_one if {
	short := [{"from": "02:10", "to": "02:20"}]
	denials(asking("2027-10-31T00:09:59Z", short)) == 0
	every at in ["2027-10-31T00:10:00Z", "2027-10-31T00:30:00Z", "2027-10-31T01:00:00Z", "2027-10-31T01:19:59Z"] {
		until(asking(at, short)) == "2027-10-31T01:20:00Z"
	}
	denials(asking("2027-10-31T01:20:00Z", short)) == 0
}

test_windows_beside_the_time_that_comes_twice_are_as_ever if {
	until(asking("2027-10-30T22:30:00Z", [{"from": "Sat 22:00", "to": "Sun 02:00"}])) == "2027-10-31T00:00:00Z"
	denials(asking("2027-10-31T00:00:00Z", [{"from": "Sat 22:00", "to": "Sun 02:00"}])) == 0
	denials(asking("2027-10-31T01:00:00Z", [{"from": "Sat 22:00", "to": "Sun 02:00"}])) == 0
	until(asking("2027-10-31T00:30:00Z", [{"from": "Sat 22:00", "to": "Sun 03:00"}])) == "2027-10-31T02:00:00Z"
	denials(asking("2027-10-31T01:59:00Z", [{"from": "Sun 03:00", "to": "Sun 04:00"}])) == 0
	until(asking("2027-10-31T02:00:00Z", [{"from": "Sun 03:00", "to": "Sun 04:00"}])) == "2027-10-31T03:00:00Z"
}

test_exceptions if {
	denials(excepting([])) == 1
	denials(excepting([{"namespaces": ["sh*"]}])) == 0
	denials(excepting([{"namespaces": ["bank"]}])) == 1
	denials(excepting([{"namespaceLabels": {"freeze": "exempt"}}])) == 0
	denials(excepting([{"namespaceLabels": {"freeze": "no"}}])) == 1
	denials(excepting([{"releases": ["shop/cart"]}])) == 0
	denials(excepting([{"releases": ["*/cart", "bank/ledger"]}])) == 0
	denials(excepting([{"releases": ["shop/checkout"]}])) == 1
	denials(excepting([{"releases": ["cart"]}])) == 1
	denials(excepting([{"first": true}])) == 1
}

test_all_parts_of_an_exception_must_hold if {
	denials(excepting([{"namespaces": ["shop"], "releases": ["shop/x"]}])) == 1
	denials(excepting([{"namespaces": ["shop"], "releases": ["shop/c*"]}])) == 0
	denials(excepting([{"namespaces": ["bank"]}, {"namespaces": ["shop"]}])) == 0
}

test_an_empty_exception_excepts_nothing if {
	denials(excepting([{}])) == 1
	denials(excepting([{"releases": []}])) == 1
	denials(excepting([{"namespaces": []}])) == 1
	denials(excepting([{"namespaceLabels": {}}])) == 1
}

test_a_first_rollout_may_be_excepted if {
	doc := object.union(excepting([{"first": true}]), {"rollout": {"first": true}})
	denials(doc) == 0
}

test_a_rollback_is_never_held if {
	denials(object.union(excepting([]), {"rollout": {"rollback": true}})) == 0
	denials(object.union(excepting([]), {"rollout": {"rollback": false}})) == 1
}

test_a_wave_has_no_namespace_to_be_excepted_by if {
	denials({
		"time": "2026-11-21T12:00:00Z",
		"parameters": {"windows": [weekend], "exceptions": [{"namespaces": ["*"]}]},
		"template": {"name": "web"},
		"wave": {"name": "rest"},
	}) == 1
}

test_what_cannot_be_read_holds if {
	mistaken([]) == {"parameters.windows: wanted at least one window, found none"}
	mistaken([{"from": "18:00", "to": "Mon 08:00"}]) == {`parameters.windows[0]: wanted from and to both like 18:00, both like "Fri 16:00", or both like 2026-12-20T00:00:00Z, found from 18:00 to Mon 08:00`}
	mistaken([{"from": "25:00", "to": "08:00"}]) == {`parameters.windows[0]: wanted from and to both like 18:00, both like "Fri 16:00", or both like 2026-12-20T00:00:00Z, found from 25:00 to 08:00`}
	mistaken([{"from": "18:00"}]) == {`parameters.windows[0]: wanted from and to both like 18:00, both like "Fri 16:00", or both like 2026-12-20T00:00:00Z, found from 18:00 to nothing`}
	mistaken([{"from": 1080, "to": 480}]) == {`parameters.windows[0]: wanted from and to both like 18:00, both like "Fri 16:00", or both like 2026-12-20T00:00:00Z, found from 1080 to 480`}
	mistaken(["nights"]) == {"parameters.windows[0]: wanted an object, found nights"}
	mistaken([object.union(nights, {"day": ["Mon"]})]) == {"parameters.windows[0]: wanted name, reason, zone, days, from or to, found day"}
	mistaken([object.union(nights, {"days": ["Monday"]})]) == {"parameters.windows[0].days: wanted Mon, Tue, Wed, Thu, Fri, Sat or Sun, found Monday"}
	mistaken([{"from": "00:00", "to": "24:00", "days": []}]) == {"parameters.windows[0].days: wanted a list of days, or no days at all for every day, found []"}
	mistaken([{"from": "00:00", "to": "24:00", "days": "Sun"}]) == {"parameters.windows[0].days: wanted a list of days, or no days at all for every day, found Sun"}
	mistaken([{"from": "00:00", "to": "24:00", "days": {"Sun": "Sun"}}]) == {`parameters.windows[0].days: wanted a list of days, or no days at all for every day, found {"Sun": "Sun"}`}
	mistaken([{"from": "00:00", "to": "24:00", "days": null}]) == {"parameters.windows[0].days: wanted a list of days, or no days at all for every day, found null"}
	mistaken([{"from": "00:00", "to": "24:00", "days": false}]) == {"parameters.windows[0].days: wanted a list of days, or no days at all for every day, found false"}
	mistaken([object.union(weekend, {"days": ["Mon"]})]) == {"parameters.windows[0].days: wanted days only beside from and to like 18:00, found from Fri 16:00"}
	mistaken([{"from": "2026-12-20T00:00:00Z", "to": "2026-12-19T00:00:00Z"}]) == {"parameters.windows[0]: wanted to after from, found from 2026-12-20T00:00:00Z to 2026-12-19T00:00:00Z"}
}

test_a_team_cannot_except_itself_by_a_label if denials(excepting([{"releaseLabels": {"tier": "web"}}])) == 1

test_a_mistake_in_an_exception_holds_everything if {
	denials(excepting([{"namespace": "shop"}])) == 1
	denials(excepting(["shop"])) == 1
}

test_another_moment_has_no_time_and_is_refused if {
	denials(object.remove(asking("2026-11-25T12:00:00Z", [weekend]), ["time"])) == 1
}

test_missing_parameters_hold if {
	denials({"time": "2026-11-25T12:00:00Z", "parameters": {}}) == 1
}
