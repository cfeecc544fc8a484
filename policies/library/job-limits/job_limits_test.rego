package tidegate.job_limits_test

import data.tidegate.job_limits

about(kind, spec) := {
	"parameters": {"maxSeconds": 60, "maxSecondsAfterFinished": 60, "maxRetries": 3},
	"object": {"kind": kind, "metadata": {"name": "a"}, "spec": spec},
}

test_a_job_within_its_limits_passes if count(job_limits.deny) == 0 with input as about("Job", {"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 0})

test_the_job_of_a_cron_job_needs_no_end_of_its_own if count(job_limits.deny) == 0 with input as about("CronJob", {"jobTemplate": {"spec": {"activeDeadlineSeconds": 60}}})

test_other_kinds_are_no_jobs if count(job_limits.deny) == 0 with input as about("Deployment", {})
