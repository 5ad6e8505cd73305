#!/bin/bash
# SPDX-License-Identifier: MIT
# A private SLURM of two nodes on this machine, for tests: munge, slurmctld, two slurmd. Each node
# has AWQ_TESTCLUSTER_CPUS (4) and AWQ_TESTCLUSTER_GPUS (2), there or not. Needs no root, no
# systemd, no cgroups; listens on the loopback interface only.
#
#   testcluster.sh start            starts it and prints the line that makes commands find it
#   testcluster.sh stop             cancels its jobs, ends its daemons, removes its directory
#   testcluster.sh run COMMAND...   both, around a command
#
# Everything lies in one directory, AWQ_TESTCLUSTER (default: awqrun-testcluster-UID in TMPDIR);
# several clusters may run side by side in directories of their own. Nothing is signalled that was
# not started here.
set -euo pipefail

nodes=2 cpus=${AWQ_TESTCLUSTER_CPUS:-4} gpus=${AWQ_TESTCLUSTER_GPUS:-2}
folder=${AWQ_TESTCLUSTER:-${TMPDIR:-/tmp}/awqrun-testcluster-$UID}
export SLURM_CONF=$folder/etc/slurm.conf

fail() {
    echo "testcluster.sh: $*" >&2
    exit 1
}

# ---- configuration ----

# The first of a run of unused ports for slurmctld and the nodes.
free_ports() {
    local first port try
    for ((try = 0; try < 50; try++)); do
        first=$((20000 + RANDOM % 10000))
        for ((port = first; port <= first + nodes; port++)); do
            if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
        done
        echo "$first"
        return
    done
    fail "no free ports"
}

# What is unusual here, and why:
#   NoInAddrAny        loopback only
#   cred_expire        a requeued job waits until its old credentials expire: two minutes
#   SlurmdTimeout      seconds after which a node without its slurmd is DOWN
#   KillWait           seconds from SIGTERM to SIGKILL
#   PriorityTier       jobs in `urgent` preempt those in `main`, which go back into the queue
slurm_conf() {
    local host port user
    host=$(hostname -s) port=$(free_ports) user=$(id -un)
    cat <<END
ClusterName=testcluster
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/run/munge.socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
TmpFS=$folder/tmp/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog=$folder/etc/task_prolog
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
JobRequeue=0
MessageTimeout=5
SlurmctldTimeout=10
SlurmdTimeout=8
KillWait=3
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PropagateResourceLimitsExcept=ALL
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[0-$((nodes - 1))] NodeHostname=$host NodeAddr=127.0.0.1 \
Port=$((port + 1))-$((port + nodes)) CPUs=$cpus RealMemory=1000000 Gres=gpu:$gpus
PartitionName=main Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2
END
}

# All nodes share one /dev/shm: without a directory for each, Open MPI's ranks on one node overwrite
# the shared memory of those on another. Not in the batch step: its mpirun would hand the directory
# on to the ranks of all nodes.
task_prolog() {
    cat <<END
#!/bin/sh
[ "\$SLURM_STEP_ID" ] || exit 0
echo "export OMPI_MCA_btl_vader_backing_directory=$folder/tmp/\$SLURMD_NODENAME"
echo "export OMPI_MCA_osc_sm_backing_directory=$folder/tmp/\$SLURMD_NODENAME"
END
}

configure() {
    local node gpu
    mkdir -p "$folder"/{etc,state,log,run,dev}
    chmod 711 "$folder/run" # munged insists
    for ((node = 0; node < nodes; node++)); do mkdir -p "$folder"/{spool,tmp}/n$node; done
    for ((gpu = 0; gpu < gpus; gpu++)); do ln -s /dev/null "$folder/dev/nvidia$gpu"; done
    echo "Name=gpu File=$folder/dev/nvidia[0-$((gpus - 1))]" >"$folder/etc/gres.conf"
    task_prolog >"$folder/etc/task_prolog"
    chmod 755 "$folder/etc/task_prolog"
    slurm_conf >"$SLURM_CONF"
    head -c 1024 /dev/urandom >"$folder/etc/munge.key"
    chmod 400 "$folder/etc/munge.key"
}

# ---- start ----

idle_nodes() {
    sinfo -h -N -p main -t idle -o %N 2>/dev/null | wc -l
}

start() {
    local node waited
    for command in munged slurmctld slurmd sbatch; do
        command -v "$command" >/dev/null || fail "$command is not installed"
    done
    [[ ! -e $folder ]] || fail "'$folder' is there already; 'testcluster.sh stop' ends that one"
    configure
    munged --force --key-file="$folder/etc/munge.key" --socket="$folder/run/munge.socket" \
        --pid-file="$folder/run/munged.pid" --log-file="$folder/log/munged.log" \
        --seed-file="$folder/run/munge.seed" 2>>"$folder/log/munged.log"
    slurmctld -c
    for ((node = 0; node < nodes; node++)); do slurmd -N n$node; done
    for ((waited = 0; $(idle_nodes) < nodes; waited++)); do
        ((waited < 150)) || fail "the nodes are not ready after 15 s; see '$folder/log'"
        sleep 0.1
    done
}

# ---- stop ----

# Processes of this cluster: daemons by the files that they hold open, jobs by their environment.
ours() {
    local process
    for process in /proc/[0-9]*; do
        case $(cat "$process/comm" 2>/dev/null) in
        munged | slurmctld | slurmd | slurmstepd)
            [[ $(find "$process/fd" -lname "$folder/*" 2>/dev/null) ]] || continue
            ;;
        *)
            grep -zqxF "SLURM_CONF=$SLURM_CONF" "$process/environ" 2>/dev/null || continue
            grep -zq '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null || continue
            ;;
        esac
        echo "${process#/proc/}"
    done
}

# send SIGNAL: to every process of this cluster; waits up to 3 s for the last to end
send() {
    local process left waited
    for ((waited = 0; waited < 30; waited++)); do
        left=$(ours)
        [[ $left ]] || return 0
        for process in $left; do
            ((waited)) || kill -s "$1" "$process" 2>/dev/null || true
        done
        sleep 0.1
    done
}

stop() {
    local waited
    [[ -e $SLURM_CONF ]] || fail "no cluster in '$folder'"
    scancel --user="$(id -un)" 2>/dev/null || true
    for ((waited = 0; waited < 20; waited++)); do
        [[ $(squeue -h 2>/dev/null) ]] || break
        sleep 0.1
    done
    send TERM
    send KILL
    rm -rf "$folder"
}

run() {
    local code=0 parent=
    (($#)) || fail "run what?"
    if [[ ! ${AWQ_TESTCLUSTER-} ]]; then
        parent=$(mktemp -d)
        folder=$parent/cluster
        export SLURM_CONF=$folder/etc/slurm.conf
    fi
    # shellcheck disable=SC2064 # now
    trap "stop; rm -rf '$parent'" EXIT
    start
    "$@" || code=$?
    exit "$code"
}

case ${1-} in
start)
    start
    echo "export SLURM_CONF=$SLURM_CONF"
    ;;
stop) stop ;;
run) run "${@:2}" ;;
*)
    echo "usage: testcluster.sh start | stop | run COMMAND..." >&2
    exit 2
    ;;
esac
