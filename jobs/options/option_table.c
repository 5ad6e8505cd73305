/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "jobs/options/options.h"

#define FIELD(name)  offsetof(awq_options, name)
#define QUANTIZE     AWQ_COMMAND_QUANTIZE
#define PLAN         AWQ_COMMAND_PLAN
#define EVAL         AWQ_COMMAND_EVAL
#define STATUS       AWQ_COMMAND_STATUS
#define CONVERT      AWQ_COMMAND_CONVERT
#define JOB          (QUANTIZE | PLAN)
#define COMPUTE      (QUANTIZE | PLAN | EVAL)
#define SUBMIT       AWQ_COMMAND_SUBMIT
#define TOKENIZE     AWQ_COMMAND_TOKENIZE
#define TEXT         (QUANTIZE | PLAN | TOKENIZE)
#define ANY          (COMPUTE | STATUS | TOKENIZE)
#define REPORT       AWQ_COMMAND_REPORT
#define VERIFY       AWQ_COMMAND_VERIFY
#define VERSION      AWQ_COMMAND_VERSION
#define COMPLETION   AWQ_COMMAND_COMPLETION
#define REQUIRED     true
#define OPTIONAL     false
#define CHANGES      true
#define SAME         false
#define UNBOUNDED    -1e18, 1e18
#define MAX_SEQUENCE 1e9

/* clang-format off */
const awq_option awq_option_table[] = {
    {"model", "DIR", AWQ_OPTION_PATH, FIELD(model), NULL, UNBOUNDED, COMPUTE | VERIFY | TOKENIZE, REQUIRED, SAME,
     "Hugging Face checkpoint: config.json and safetensors"},
    {"tokens", "FILE", AWQ_OPTION_PATH, FIELD(tokens), NULL, UNBOUNDED, COMPUTE | VERIFY, REQUIRED, SAME,
     "HDF5 file of token ids, /input_ids int32 [sequences, length]"},
    {"out", "DIR", AWQ_OPTION_PATH, FIELD(out), NULL, UNBOUNDED, JOB | CONVERT, REQUIRED, SAME,
     "directory of the AWQ checkpoint to write; DIR/.awqrun keeps what a resumed run needs"},
    {"out", "FILE", AWQ_OPTION_PATH, FIELD(out), NULL, UNBOUNDED, TOKENIZE, REQUIRED, SAME,
     "HDF5 file of token ids to write, for --tokens"},
    {"text", "FILE...", AWQ_OPTION_PATHS, FIELD(text.files), NULL, UNBOUNDED, TEXT, OPTIONAL, SAME,
     "text to tokenize, in place of --tokens: plain, .jsonl, either as .gz"},
    {"length", "N", AWQ_OPTION_INTEGER, FIELD(text.length), "512", 1, MAX_SEQUENCE, TEXT, OPTIONAL, SAME,
     "tokens of a sequence of the text"},
    {"split", "lines|blank|files", AWQ_OPTION_CHOICE, FIELD(text.split), "blank", UNBOUNDED, TEXT, OPTIONAL, SAME,
     "what a document of plain text is: a line, what stands between blank lines, or a file"},
    {"field", "NAME", AWQ_OPTION_TEXT, FIELD(text.field), NULL, UNBOUNDED, TEXT, OPTIONAL, SAME,
     "what holds the document in a line of .jsonl; else text, or messages with --chat-template"},
    {"chat-template", "none|llama3|chatml|mistral", AWQ_OPTION_CHOICE, FIELD(text.chat), "none", UNBOUNDED, TEXT, OPTIONAL, SAME,
     "documents are conversations, a list of {role, content}, to be written out in this form"},
    {"mask-prompt", NULL, AWQ_OPTION_FLAG, FIELD(text.mask_prompt), NULL, UNBOUNDED, TEXT, OPTIONAL, SAME,
     "with --chat-template, count only what the assistant wrote"},
    {"invalid-utf8", "refuse|replace", AWQ_OPTION_CHOICE, FIELD(text.invalid_utf8), "refuse", UNBOUNDED, TEXT, OPTIONAL, SAME,
     "text that is not UTF-8: an error, or U+FFFD as Python's errors='replace' has it"},
    {"against", "DIR", AWQ_OPTION_PATH, FIELD(against), NULL, UNBOUNDED, EVAL, OPTIONAL, SAME,
     "full-precision checkpoint to compare with: its perplexity, KL(DIR || model), top-1 agreement"},
    {"job", "FILE", AWQ_OPTION_PATH, FIELD(job), NULL, UNBOUNDED, JOB, OPTIONAL, SAME,
     "take options from a file of 'key = value' lines; those given here win"},
    {"print-job", NULL, AWQ_OPTION_FLAG, FIELD(plan.print_job), NULL, UNBOUNDED, PLAN, OPTIONAL, SAME,
     "print all options as such a file, and nothing else"},
    {"sequences", "N", AWQ_OPTION_INTEGER, FIELD(sequences), "0", 0, MAX_SEQUENCE, COMPUTE | TOKENIZE, OPTIONAL, SAME,
     "use the first N sequences; 0: all of --tokens, 128 of --text"},
    {"layer", "N", AWQ_OPTION_INTEGER, FIELD(verify_layer), "-1", -1, 1e6, VERIFY, OPTIONAL, SAME,
     "reproduce this layer from --model and --tokens, and compare its bytes; -1: none"},
    {"bits", "N", AWQ_OPTION_INTEGER, FIELD(recipe.bits), "4", 3, 8, JOB, OPTIONAL, CHANGES,
     "bits of a quantized weight: 4, or with --format compressed-tensors 3, 4 or 8"},
    {"group-size", "N", AWQ_OPTION_INTEGER, FIELD(recipe.group_size), "128", -1, 65536, JOB, OPTIONAL, CHANGES,
     "weights along the input that share a scale: 32, 64, 128, 256, or -1 for a whole row"},
    {"symmetric", NULL, AWQ_OPTION_FLAG, FIELD(recipe.symmetric), NULL, UNBOUNDED, JOB | CONVERT, OPTIONAL, CHANGES,
     "put the zero point of every group in the middle"},
    {"format", "gemm|gemv|gemv-fast|compressed-tensors", AWQ_OPTION_CHOICE, FIELD(recipe.format), "gemm", UNBOUNDED, JOB | CONVERT, OPTIONAL, CHANGES,
     "how the quantized linears are stored"},
    {"skip", "REGEX", AWQ_OPTION_TEXT, FIELD(skip), NULL, UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "keep linears in full precision whose name, such as model.layers.7.mlp.down_proj, has a match"},
    {"objective", "linear|module", AWQ_OPTION_CHOICE, FIELD(recipe.objective), "linear", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "choose scales by the exact error of each linear, or by that of attention and MLP, as AutoAWQ"},
    {"objective-tokens", "N", AWQ_OPTION_INTEGER, FIELD(recipe.objective_tokens), "8192", 0, 1e12, JOB, OPTIONAL, CHANGES,
     "measure the module objective on the first N tokens, rounded down to whole sequences; 0: all"},
    {"alpha-steps", "N", AWQ_OPTION_INTEGER, FIELD(recipe.alpha_steps), "20", 0, 1000, JOB, OPTIONAL, CHANGES,
     "try alpha = 0, 1/N .. 1; 0 tries the identity only, which leaves the weights as they are"},
    {"duo", "off|on|both", AWQ_OPTION_CHOICE, FIELD(recipe.duo), "on", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "scales from activations alone, from activations and weights, or the better of both"},
    {"refine", "N", AWQ_OPTION_INTEGER, FIELD(recipe.refine), "0", 0, 100, JOB, OPTIONAL, CHANGES,
     "try N more alphas between the best of these and the better one beside it"},
    {"smooth", "X", AWQ_OPTION_NUMBER, FIELD(recipe.smooth), "0", 0, 1, JOB, OPTIONAL, CHANGES,
     "draw mean|x| towards its mean over channels, 0 not at all, 1 wholly"},
    {"o-proj", "tied|skip", AWQ_OPTION_CHOICE, FIELD(recipe.o_proj), "tied", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "under grouped-query attention, tie o_proj's scales over the heads of a group, or skip it"},
    {"clip", "off|after|joint", AWQ_OPTION_CHOICE, FIELD(recipe.clip), "after", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "search a smaller range for each group of weights, after the scales are chosen or for each candidate"},
    {"clip-shape", "symmetric|asymmetric", AWQ_OPTION_CHOICE, FIELD(recipe.clip_shape), "symmetric", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "cut both ends of a group's range to one limit, or each by itself"},
    {"rounding", "nearest|feedback", AWQ_OPTION_CHOICE, FIELD(recipe.rounding), "feedback", UNBOUNDED, JOB, OPTIONAL, CHANGES,
     "round each weight to the nearest value, or let errors make up for one another as GPTQ does"},
    {"max-shard-size", "BYTES", AWQ_OPTION_BYTES, FIELD(max_shard_size), "5GB", 1e3, 1e15, JOB | CONVERT, OPTIONAL, CHANGES,
     "largest output shard"},
    {"tile-tokens", "N", AWQ_OPTION_INTEGER, FIELD(tile_tokens), "4096", 1, 1e9, COMPUTE, OPTIONAL, CHANGES,
     "tokens that flow through the stages together, rounded down to whole sequences"},
    {"backend", "auto|cpu|cuda", AWQ_OPTION_TEXT, FIELD(backend), "auto", UNBOUNDED, COMPUTE | VERIFY, OPTIONAL, SAME,
     "what computes"},
    {"threads", "N", AWQ_OPTION_INTEGER, FIELD(threads), "0", 0, 4096, COMPUTE | VERIFY, OPTIONAL, SAME,
     "CPU threads of a worker; 0: its share of the cores it may run on"},
    {"stage-layers", "N", AWQ_OPTION_INTEGER, FIELD(stage_layers), "0", 0, 1e6, COMPUTE | VERIFY, OPTIONAL, SAME,
     "decoder layers that a worker holds at once; 0: its share of them, if they fit"},
    {"workers", "N", AWQ_OPTION_INTEGER, FIELD(plan.workers), "1", 1, 1e6, PLAN, OPTIONAL, SAME,
     "plan for N workers"},
    {"context", "N", AWQ_OPTION_INTEGER, FIELD(plan.context), "0", 0, MAX_SEQUENCE, PLAN, OPTIONAL, SAME,
     "tokens of context to plan the served model for; 0: what it can, at most 8192"},
    {"batch", "N", AWQ_OPTION_INTEGER, FIELD(plan.batch), "1", 1, 1e6, PLAN, OPTIONAL, SAME,
     "sequences at once to plan the served model for"},
    {"device-memory", "BYTES|N%", AWQ_OPTION_MEMORY, FIELD(device_memory), "90%", UNBOUNDED, COMPUTE | VERIFY, OPTIONAL, SAME,
     "memory that a worker may plan for: of its GPU, or its share of the node's free memory"},
    {"share-gpu", NULL, AWQ_OPTION_FLAG, FIELD(share_gpu), NULL, UNBOUNDED, QUANTIZE | EVAL | VERIFY, OPTIONAL, SAME,
     "let several workers compute on one GPU; a percentage of its memory is then shared out too"},
    {"transport", "auto|nccl|mpi", AWQ_OPTION_CHOICE, FIELD(transport), "auto", UNBOUNDED, QUANTIZE | EVAL | VERIFY, OPTIONAL, SAME,
     "how hidden states go from worker to worker: from GPU to GPU, or through host memory; auto: nccl where all can"},
    {"worker-timeout", "TIME", AWQ_OPTION_SECONDS, FIELD(worker_timeout), "300s", 1, 1e9, QUANTIZE | EVAL | VERIFY, OPTIONAL, SAME,
     "end the job when a worker has been silent for so long"},
    {"time-limit", "TIME", AWQ_OPTION_SECONDS, FIELD(time_limit), "0s", 0, 1e9, QUANTIZE, OPTIONAL, SAME,
     "stop gracefully after this time and exit 75, to be resumed; 0: no limit"},
    {"grace", "TIME", AWQ_OPTION_SECONDS, FIELD(grace), "60s", 0, 1e9, QUANTIZE, OPTIONAL, SAME,
     "when stopping gracefully, time for the layers being searched to be finished"},
    {"lock-wait", "TIME", AWQ_OPTION_SECONDS, FIELD(lock_wait), "0s", 0, 1e9, QUANTIZE, OPTIONAL, SAME,
     "while another job works on the same output, wait so long for its end"},
    {"restart", NULL, AWQ_OPTION_FLAG, FIELD(restart), NULL, UNBOUNDED, QUANTIZE | CONVERT, OPTIONAL, SAME,
     "discard what an earlier run of this job has done"},
    {"keep-run", NULL, AWQ_OPTION_FLAG, FIELD(keep_run), NULL, UNBOUNDED, QUANTIZE, OPTIONAL, SAME,
     "keep DIR/.awqrun, with the input of every stage, when the checkpoint is complete"},
    {"json", NULL, AWQ_OPTION_FLAG, FIELD(json), NULL, UNBOUNDED, PLAN | EVAL | STATUS | VERIFY | VERSION, OPTIONAL, SAME,
     "print the result as JSON"},
    {"html", "FILE", AWQ_OPTION_PATH, FIELD(report.html), NULL, UNBOUNDED, REPORT, OPTIONAL, SAME,
     "write the page to FILE; else to awqrun-report.html in the output directory"},
    {"csv", NULL, AWQ_OPTION_FLAG, FIELD(report.csv), NULL, UNBOUNDED, REPORT, OPTIONAL, SAME,
     "print a line for each layer and linear instead"},
    {"shell", "bash|zsh", AWQ_OPTION_CHOICE, FIELD(shell), "bash", UNBOUNDED, COMPLETION, OPTIONAL, SAME,
     "the shell that the script is for"},
    {"verbose", NULL, AWQ_OPTION_FLAG, FIELD(verbose), NULL, UNBOUNDED, QUANTIZE | EVAL | VERIFY | CONVERT, OPTIONAL, SAME,
     "log each layer: alphas and relative errors"},
    {"quiet", NULL, AWQ_OPTION_FLAG, FIELD(quiet), NULL, UNBOUNDED, QUANTIZE | EVAL | VERIFY | CONVERT, OPTIONAL, SAME,
     "log errors and warnings only"},
    {"log-json", NULL, AWQ_OPTION_FLAG, FIELD(log_json), NULL, UNBOUNDED, QUANTIZE | EVAL | VERIFY, OPTIONAL, SAME,
     "log each line as a JSON object, and draw no bar"},
    {"nodes", "N", AWQ_OPTION_INTEGER, FIELD(submit.nodes), "0", 0, 1e6, SUBMIT, OPTIONAL, SAME,
     "nodes; 0: as many as the plan proposes"},
    {"gpus-per-node", "N", AWQ_OPTION_INTEGER, FIELD(submit.gpus_per_node), "0", 0, 1000, SUBMIT, OPTIONAL, SAME,
     "GPUs of each node, with a worker for each; 0: none, and whole nodes are asked for"},
    {"workers-per-node", "N", AWQ_OPTION_INTEGER, FIELD(submit.workers_per_node), "0", 0, 1000, SUBMIT, OPTIONAL, SAME,
     "workers on each node; 0: one for each GPU, or one"},
    {"cpus-per-worker", "N", AWQ_OPTION_INTEGER, FIELD(submit.cpus_per_worker), "0", 0, 4096, SUBMIT, OPTIONAL, SAME,
     "CPUs for each worker; 0: 8 beside a GPU, else all of the node"},
    {"time", "TIME", AWQ_OPTION_TEXT, FIELD(submit.time), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "time limit as sbatch takes it, such as 90, 04:00:00 or 1-00; else as the plan proposes"},
    {"partition", "NAME", AWQ_OPTION_TEXT, FIELD(submit.partition), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "as sbatch takes it"},
    {"account", "NAME", AWQ_OPTION_TEXT, FIELD(submit.account), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "as sbatch takes it"},
    {"qos", "NAME", AWQ_OPTION_TEXT, FIELD(submit.qos), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "as sbatch takes it"},
    {"constraint", "LIST", AWQ_OPTION_TEXT, FIELD(submit.constraint), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "as sbatch takes it"},
    {"mail-user", "ADDRESS", AWQ_OPTION_TEXT, FIELD(submit.mail_user), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "who gets mail when the job ends, fails or is requeued"},
    {"sbatch", "OPTIONS", AWQ_OPTION_TEXT, FIELD(submit.sbatch), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "further options of sbatch; they win over those above"},
    {"max-requeues", "N", AWQ_OPTION_INTEGER, FIELD(submit.max_requeues), "20", 0, 1e6, SUBMIT, OPTIONAL, SAME,
     "how often the job may put itself back into the queue when its time is up"},
    {"launcher", "auto|srun|mpirun", AWQ_OPTION_CHOICE, FIELD(submit.launcher), "auto", UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "what starts the ranks; auto: srun where it speaks PMIx, else mpirun"},
    {"program", "WORDS", AWQ_OPTION_TEXT, FIELD(submit.program), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "what the job runs in place of this awqrun: 'apptainer exec --nv awqrun.sif awqrun'"},
    {"dry-run", NULL, AWQ_OPTION_FLAG, FIELD(submit.dry_run), NULL, UNBOUNDED, SUBMIT, OPTIONAL, SAME,
     "print the script; write and submit nothing"},
};
/* clang-format on */

const int awq_option_count = sizeof awq_option_table / sizeof *awq_option_table;
