package importer

// lines are the words that a line of a block begins with, and why nothing comes of
// it; of an empty why something does, or nothing is lost without it.
type lines map[string]string

var virtualServerLines = lines{
	"delay_loop": "", "lb_algo": "", "lvs_sched": "", "lb_kind": "", "lvs_method": "", "protocol": "", "persistence_timeout": "",
	"persistence_granularity": "", "ops": "", "virtualhost": "", "real_server": "", "sorry_server": "", "connect_timeout": "", "retry": "",
	"nb_get_retry": "", "delay_before_retry": "", "weight": "", "ip_family": "", "smtp_alert": "", "snmp_name": "", "warmup": "",
	"hashed": "", "flag-1": "", "flag-2": "", "flag-3": "", "sh-port": "", "sh-fallback": "", "mh-port": "", "mh-fallback": "",
	"quorum":                  "see panic_threshold: and tiers:",
	"hysteresis":              "see panic_threshold: and tiers:",
	"quorum_up":               "see on_change: of probes",
	"quorum_down":             "see on_change: of probes",
	"alpha":                   "a backend counts as up until its first probe",
	"omega":                   "the data plane stays when the daemon ends",
	"ha_suspend":              "every balancer of a fleet serves",
	"persistence_engine":      "the data plane does not look into packets",
	"inhibit_on_failure":      whyNoInhibit,
	"sorry_server_inhibit":    whyNoInhibit,
	"sorry_server_lvs_method": "a service has one mode of forwarding",
	"nat_mask":                "the kernel's routes say the way back",
}

const whyNoInhibit = "an unhealthy backend keeps none of its flows; drain it to let them end"

var realServerLines = lines{
	"weight": "", "lvs_method": "", "lb_kind": "", "virtualhost": "", "delay_loop": "", "connect_timeout": "", "retry": "", "nb_get_retry": "",
	"delay_before_retry": "", "warmup": "", "smtp_alert": "", "snmp_name": "", "TCP_CHECK": "", "HTTP_GET": "", "SSL_GET": "", "SMTP_CHECK": "",
	"DNS_CHECK": "", "PING_CHECK": "", "MISC_CHECK": "", "UDP_CHECK": "", "BFD_CHECK": "", "FILE_CHECK": "",
	"notify_up":          "see on_change: of probes",
	"notify_down":        "see on_change: of probes",
	"uthreshold":         "the cap is of a service (max_connections), not of a backend",
	"lthreshold":         "the cap is of a service (max_connections), not of a backend",
	"alpha":              "a backend counts as up until its first probe",
	"inhibit_on_failure": whyNoInhibit,
}

var checkerLines = lines{
	"connect_ip": "", "connect_port": "", "connect_timeout": "", "retry": "", "nb_get_retry": "", "delay_before_retry": "", "delay_loop": "",
	"url": "", "virtualhost": "", "host": "", "misc_path": "", "misc_timeout": "", "misc_dynamic": "", "type": "", "name": "", "warmup": "",
	"log_all_failures": "", "enable_sni": "", "http_protocol": "", "tls_compliant": "",
	"alpha":             "a backend counts as up until its first probe",
	"bindto":            whyNoBind,
	"bind_port":         whyNoBind,
	"bind_if":           whyNoBind,
	"fwmark":            "probes are not marked",
	"helo_name":         "a probe says EHLO with its own address",
	"fast_recovery":     "see rise: of the probe",
	"user":              "a probe of type exec runs as the daemon does",
	"payload":           "see send: of the probe",
	"require_reply":     "see expect: of the probe",
	"min_reply_length":  "see expect: of the probe",
	"max_reply_length":  "see expect: of the probe",
	"track_file":        "there is no such probe",
	"weight":            "a probe is good or bad; weights come from the operator, discovery or a policy",
	"reloadtime_config": "there is no such probe",
}

const whyNoBind = "the kernel's routes say from where a probe goes"

var urlLines = lines{
	"path": "", "status_code": "", "digest": "", "virtualhost": "", "tls_compliant": "",
	"regex": whyNoRegex, "regex_no_match": whyNoRegex, "regex_options": whyNoRegex, "regex_min_offset": whyNoRegex, "regex_max_offset": whyNoRegex, "regex_stack": whyNoRegex,
}

const whyNoRegex = "a probe looks for a text (body:), not for a pattern"

// leftovers notes each line of a block that nothing was made of.
func (k *keepalived) leftovers(b *block, known lines) {
	for _, c := range b.inner {
		why, ok := known[c.first()]
		if !ok {
			why = "is not known"
		}
		if why != "" {
			k.note(c.at, c.String(), "%s", why)
		}
	}
}
