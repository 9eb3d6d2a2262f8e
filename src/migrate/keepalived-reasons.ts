/** Why a line of keepalived.conf has no counterpart, by its first word: the first pattern that fits. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:notify|smtp_alert|smtp_|notification_email|vrrp_notify|alert)/,
    'no mail is sent and no script called: follow understudy events, or alert on the metrics (monitoring/)',
  ],
  [/^(?:authentication|auth_type|auth_pass)$/, 'heartbeats are signed by the cluster key'],
  [
    /^(?:vrrp_script|track_script|vrrp_track_process|track_process|track_file|vrrp_track_file|track_bfd)$/,
    'a host is failed over when its lease ends; let a workload’s own unit watch and restart it, and give services a health check',
  ],
  [/^(?:track_interface)$/, 'a host that is cut off loses its lease by itself'],
  [
    /^(?:state|preempt|preempt_delay|nopreempt)$/,
    'where a personality runs the cluster decides; nothing moves back by itself (understudy move)',
  ],
  [/^priority$/, 'this is the host’s; the pool says which hosts may carry what'],
  [/^virtual_router_id$/, 'roles go by name'],
  [
    /^(?:advert_int|down_timer_adverts)$/,
    'timing: {heartbeat, lease} of the cluster; its defaults are 50ms and 200ms',
  ],
  [
    /^(?:garp_|vrrp_garp_|vrrp_gna)/,
    'announcements are sent by themselves (timing.announceRefresh)',
  ],
  [/^(?:use_vmac|vmac_|vrrp_xmit)/, 'every personality has a virtual MAC'],
  [
    /^(?:mcast_src_ip|vrrp_mcast|dont_track_primary|version|vrrp_version|vrrp_strict)/,
    'there is no VRRP',
  ],
  [/^(?:lb_algo|lvs_sched)$/, 'members are chosen by a hash of the client (hash)'],
  [/^(?:lb_kind|lvs_method)$/, 'members answer their clients themselves, in every fabric'],
  [/^(?:persistence_)/, 'hash: source-ip keeps a client at one member without time-outs'],
  [
    /^(?:sorry_server|quorum|hysteresis|alpha|omega|ha_suspend|ops)/,
    'a service has members and their health, nothing more',
  ],
  [
    /^(?:HTTP_GET|SSL_GET|SMTP_CHECK|MISC_CHECK|DNS_CHECK|UDP_CHECK|PING_CHECK|BFD_CHECK|FILE_CHECK)$/,
    'health checks are health: {tcp: PORT}, {http: PORT, path: PATH} or {script: [PROGRAM, ARGUMENT]}',
  ],
  [/^(?:status_code|digest)/, 'an answer with a status of 200 to 399 is a good one'],
  [/^\w+_server_group$/, 'a service is an address and its ports: write one for each of the group'],
  [
    /^(?:inhibit_on_failure|uthreshold|lthreshold|delay_before_retry|retry|nb_get_retry|connect_timeout|warmup|virtualhost)/,
    'two failures in a row take a member out',
  ],
  [/^(?:static_|virtual_rules)/, 'the hosts’ own configuration does that'],
  [/^include/, 'it is another file: convert that too'],
  [
    /^(?:router_id|global_defs|process_names|script_user|enable_script_security|max_auto_priority|vrrp_|lvs_|checker_|bfd_|net_namespace|instance|interface_up_down_delays)/,
    'it is about keepalived itself',
  ],
];

export function whyNot(word: string): string {
  return reasons.find(([pattern]) => pattern.test(word))?.[1] ?? 'nothing like it is known here';
}
