# Completion of gpupanelctl for bash, and for zsh after bashcompinit.
# Made by packaging/generate.py; do not edit.
_gpupanelctl() {
    local words= call=${COMP_WORDS[1]} at=1
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case "$call ${COMP_WORDS[2]}" in
    "history export") call="history export" at=2 ;;
    "history energy") call="history energy" at=2 ;;
    "stress list") call="stress list" at=2 ;;
    "stress selftest") call="stress selftest" at=2 ;;
    "stress run") call="stress run" at=2 ;;
    "stress compare") call="stress compare" at=2 ;;
    "policy validate") call="policy validate" at=2 ;;
    "policy show") call="policy show" at=2 ;;
    "policy explain") call="policy explain" at=2 ;;
    "policy diff") call="policy diff" at=2 ;;
    "policy simulate") call="policy simulate" at=2 ;;
    "audit verify") call="audit verify" at=2 ;;
    "audit show") call="audit show" at=2 ;;
    "audit export") call="audit export" at=2 ;;
    esac
    if ((COMP_CWORD <= 1)); then words="gpus sample processes history stress policy status audit doctor"
    else
        if ((COMP_CWORD == at)); then call=${call%% *}; fi
        case "$call $before" in
        "sample --count") words="" ;;
        "sample --interval") words="" ;;
        "sample --record") words="" ;;
        "processes --gpu") words="" ;;
        "processes --interval") words="" ;;
        "processes --explain") words="" ;;
        "processes --not-mining") words="" ;;
        "history export --format") words="csv json" ;;
        "history export --gpu") words="" ;;
        "history export --metric") words="utilization_gpu_percent utilization_memory_percent utilization_encoder_percent utilization_decoder_percent utilization_jpeg_percent utilization_optical_flow_percent power_draw_w power_draw_average_w power_draw_instant_w temperature_gpu_c temperature_hotspot_c temperature_memory_c memory_used_bytes memory_shared_used_bytes clock_graphics_mhz clock_memory_mhz performance_state voltage_mv fan_speed_percent fan_speed_rpm pcie_rx_bytes_per_s pcie_tx_bytes_per_s nvlink_rx_bytes_per_s nvlink_tx_bytes_per_s" ;;
        "history export --since") words="" ;;
        "history export --until") words="" ;;
        "history energy --price-per-kwh") words="" ;;
        "history energy --since") words="" ;;
        "history energy --until") words="" ;;
        "stress selftest --vectors") words="" ;;
        "stress selftest --gpu") words="" ;;
        "stress run --seconds") words="" ;;
        "stress run --profile") words="steady steps" ;;
        "stress run --policy") words="" ;;
        "stress run --set") words="" ;;
        "stress run --report") words="" ;;
        "stress run --gpu") words="" ;;
        "policy validate --format") words="text json sarif github" ;;
        "policy show --policy") words="" ;;
        "policy explain --policy") words="" ;;
        "policy simulate --verdicts") words="" ;;
        "audit verify --since") words="" ;;
        "audit verify --folder") words="" ;;
        "audit show --event") words="service.started service.stopped service.crash_restored policy.loaded policy.rejected policy.stale policy.closed policy.removed policy.loosened policy.insecure_file hold.applied hold.changed hold.released hold.failed hold.would verdict.changed objection.added auth.denied ipc.limit_hit audit.rotated audit.gap clock.rollback restore.applied" ;;
        "audit show --last") words="" ;;
        "audit show --since") words="" ;;
        "audit show --folder") words="" ;;
        "audit export --format") words="jsonl ecs cef csv" ;;
        "audit export --since") words="" ;;
        "audit export --folder") words="" ;;
        *)
            case "$call" in
            "gpus") words="-h --help --json" ;;
            "sample") words="-h --help --json --count --interval --record --force" ;;
            "processes") words="-h --help --json --gpu --interval --watch --explain --not-mining" ;;
            "history") words="export energy -h --help" ;;
            "history export") words="-h --help --format --gpu --metric --since --until" ;;
            "history energy") words="-h --help --price-per-kwh --json --since --until" ;;
            "stress") words="list selftest run compare -h --help" ;;
            "stress list") words="-h --help --json" ;;
            "stress selftest") words="-h --help --vectors --gpu --json" ;;
            "stress run") words="-h --help --seconds --profile --policy --set --report --gpu --json" ;;
            "stress compare") words="-h --help --json" ;;
            "policy") words="validate show explain diff simulate -h --help" ;;
            "policy validate") words="-h --help --format --json --strict" ;;
            "policy show") words="-h --help --policy --json" ;;
            "policy explain") words="-h --help mining.enforcement mining.max_efficiency_percent mining.action mining.grace_seconds mining.game_priority mining.allowed_executables mining.gpu_roles mining.allow_user_verdicts detection.miner_executables detection.pool_hosts stress.allowed_loads stress.max_run_seconds stress.temperature_stop_c controls.allow controls.power_limit_max_percent controls.power_limit_min_percent controls.fan_min_percent controls.allow_overclock privacy.show_other_users_processes service.require_policy ui.notify_capped ui.show_tray --policy --json" ;;
            "policy diff") words="-h --help --json" ;;
            "policy simulate") words="-h --help --verdicts --json" ;;
            "status") words="-h --help --json --check" ;;
            "audit") words="verify show export -h --help" ;;
            "audit verify") words="-h --help --against-journal --since --json --user --folder" ;;
            "audit show") words="-h --help --event --last --json --since --user --folder" ;;
            "audit export") words="-h --help --format --since --user --folder" ;;
            "doctor") words="-h --help --json" ;;
            esac ;;
        esac
    fi
    while read -r; do COMPREPLY+=("$REPLY"); done < <(compgen -W "$words" -- "$current")
}
complete -o default -F _gpupanelctl gpupanelctl
