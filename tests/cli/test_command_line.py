# SPDX-License-Identifier: MIT
"""The command line: what is asked wrongly is a usage error that says what is right."""

import json
import re
import subprocess
import unittest

from support.case import DEMO, Case
from support.program import AWQRUN, commands, options_of, run

COMMANDS = ("quantize", "plan", "status", "report", "eval", "verify", "submit", "tokenize",
            "convert", "version", "completion")


class Help(Case):
    def test_no_arguments_print_the_usage_as_an_error(self):
        result = run()
        self.assertEqual((result.code, result.out), (2, ""), result)
        for command in COMMANDS:
            self.assertIn(f"awqrun {command}", result.err)

    def test_help_prints_the_usage_as_a_result(self):
        for word in ("--help", "-h", "help"):
            result = run(word)
            self.assertEqual((result.code, result.err), (0, ""), result)
            self.assertIn("mpirun -n", result.out)

    def test_each_command_lists_its_options(self):
        for command in commands():
            with self.subTest(command=command):
                result = run(command, "--help")
                self.assertEqual((result.code, result.err), (0, ""), result)
                self.assertTrue(result.out.startswith(f"usage: awqrun {command} "))
                for option in options_of(command):
                    line = re.search(f"--{option} .*", result.out).group()
                    self.assertGreater(len(line), len(option) + 10, line)

    def test_quantize_lists_what_the_manual_promises(self):
        self.assertLessEqual(
            {"model", "tokens", "out", "bits", "group-size", "alpha-steps", "duo", "clip", "o-proj",
             "max-shard-size", "tile-tokens", "backend", "device-memory", "stage-layers",
             "threads", "worker-timeout", "restart", "verbose", "quiet", "help"},
            set(options_of("quantize")))

    def test_help_on_several_ranks_is_printed_once(self):
        for arguments in (("--help",), ("plan", "--help"), ("quantize", "--help"), ("version",)):
            with self.subTest(arguments=arguments):
                alone, together = run(*arguments), run(*arguments, ranks=3)
                self.assertEqual((together.code, together.out), (0, alone.out), together)

    def test_version_names_this_build_and_its_libraries(self):
        for word in ("version", "--version"):
            result = run(word)
            self.assertEqual((result.code, result.err), (0, ""), result)
            self.assertRegex(result.out, "^awqrun \\d+\\.\\d+\\.\\d+\nMPI ")
            self.assertRegex(result.out, "HDF5 +1\\.\\d+")
            for library in ("zlib", "libdeflate", "jansson", "PCRE2", "utf8proc",
                            "OpenBLAS"):
                self.assertRegex(result.out, f"\n{library} +\\d+\\.\\d+")
            self.assertRegex(result.out, "\nCUDA +(\\d|not in this build)")

    def test_version_is_json_when_asked(self):
        versions = json.loads(run("version", "--json").out)
        self.assertRegex(run("version").out,
                         f"^awqrun {versions['awqrun']}\nMPI +{versions['MPI']}")
        self.assertLessEqual({"HDF5", "OpenBLAS", "CUDA", "NCCL"}, set(versions))

    def test_version_lists_the_gpus_or_says_why_there_are_none(self):
        versions, text = json.loads(run("version", "--json").out), run("version").out
        if not versions["GPUs"]:
            self.assertIsNone(versions["driver"])
            self.assertRegex(versions["no_GPU"],
                             "driver" if versions["CUDA"] else "no CUDA backend")
            self.assertIn(f"\nGPU       none: {versions['no_GPU']}\n", text)
        for index, gpu in enumerate(versions["GPUs"]):
            self.assertGreater(gpu["memory_bytes"], 0)
            self.assertRegex(text, f"\nGPU {index} +{gpu['name']}, compute capability "
                             f"{gpu['compute_capability']}, ")


class Usage(Case):
    """Each of these is refused with exit code 2 before a file is touched."""

    def misused(self, arguments, *patterns, ranks=1):
        result = self.fails_with(run(*arguments, ranks=ranks), *patterns, code=2)
        self.assertEqual(result.out, "", result)

    def given(self, *more):
        return ("quantize", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--out", self.out,
                *more)

    def test_an_unknown_command_is_named(self):
        self.misused(("quantise",), "unknown command 'quantise'")
        self.misused(("quantise",), "unknown command 'quantise'", ranks=3)

    def test_a_misspelt_option_is_guessed(self):
        self.misused(self.given("--grop-size", "64"), "'--grop-size', did you mean '--group-size'")
        self.misused(self.given("--seqences=64"), "did you mean '--sequences'")

    def test_an_option_like_no_other_points_to_help(self):
        self.misused(self.given("--calibration-dataset-name"), "unknown option .* --help lists all")
        self.misused(self.given("-x"), "unknown option '-x'")

    def test_an_option_of_another_command_is_unknown(self):
        self.misused(self.given("--against=x"), "unknown option '--against=x'")

    def test_a_missing_value_is_named(self):
        self.misused(self.given("--group-size"), "'--group-size' needs a value")

    def test_a_flag_takes_no_value(self):
        self.misused(self.given("--restart=yes"), "--restart")

    def test_values_that_are_no_numbers_are_refused(self):
        for option, value in (("--sequences", "two"), ("--sequences", "5x"), ("--sequences", ""),
                              ("--threads", "1.5"), ("--smooth", "abc"), ("--alpha-steps", "1e99"),
                              ("--sequences", "99999999999999999999"), ("--smooth", "nan")):
            with self.subTest(option=option, value=value):
                self.misused(self.given(option, value), f"{option}.*{re.escape(value)}")

    def test_values_out_of_range_say_the_range(self):
        for option, value, limit in (("--sequences", "-1", "0"), ("--smooth", "1.5", "1"),
                                     ("--bits", "3", "4"), ("--threads", "-2", "0"),
                                     ("--tile-tokens", "0", "1")):
            with self.subTest(option=option):
                self.misused(self.given(option, value), f"{option} .*{limit}")

    def test_unknown_units_are_refused(self):
        for option, value in (("--max-shard-size", "5parsecs"), ("--max-shard-size", "GB"),
                              ("--device-memory", "5XB"), ("--device-memory", "50%%"),
                              ("--worker-timeout", "5y"), ("--worker-timeout", "-5s"),
                              ("--max-shard-size", "-5GB"), ("--device-memory", "-1%")):
            with self.subTest(option=option, value=value):
                self.misused(self.given(option, value), f"{option}.*'?{re.escape(value)}")

    def test_choices_are_listed(self):
        self.misused(self.given("--clip", "maybe"), "--clip .*off.*after")
        self.misused(self.given("--duo", "yes"), "--duo .*off.*on.*both")

    def test_an_unknown_backend_is_refused(self):
        result = run(*self.given("--backend", "tpu"))
        self.assertIn(result.code, (1, 2), result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertRegex(result.errors[0], "backend.*'tpu'.*cpu")
        self.nothing_looks_finished()

    def test_cuda_without_a_gpu_is_one_error_that_says_what_is_missing(self):
        versions = json.loads(run("version", "--json").out)
        if versions["GPUs"]:
            self.skipTest("there is a GPU")
        result = run(*self.given("--backend", "cuda"))
        self.assertIn(result.code, (1, 2), result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertRegex(result.errors[0], "driver.*--backend cpu" if versions["CUDA"]
                         else "backend 'cuda' is not in this build; it has cpu")
        self.nothing_looks_finished()

    def test_missing_options_are_all_named(self):
        self.misused(("quantize",), "--model DIR is missing", "--out DIR is missing",
                     "--tokens FILE or --text FILE is missing")
        self.misused(("eval", "--tokens", "x"), "--model DIR is missing")
        self.misused(("plan", "--model", "x"), "--tokens FILE or --text FILE is missing")
        self.misused(("status",), "which job")
        self.misused(("verify",), "which checkpoint")

    def test_missing_options_are_named_once_on_several_ranks(self):
        self.misused(("quantize", "--model", DEMO), "--tokens FILE or --text FILE is missing",
                     "--out DIR is missing", ranks=3)

    def test_stray_arguments_are_refused(self):
        self.misused(self.given("stray"), "unexpected argument 'stray'")
        self.misused(("status", "a", "b"), "unexpected argument 'b'")

    def test_every_problem_of_a_command_line_is_told(self):
        self.misused(self.given("--grop-size=64", "--bits", "five", "--clip", "on"),
                     "--group-size", "--bits", "--clip")
        self.misused(self.given("stray", "--bits", "five"), "--bits", "'stray'")
        self.misused(self.given("stray", "--grop-size", "64"), "'--grop-size', did you mean")


class Streams(Case):
    LOG = re.compile(r"^\d\d:\d\d:\d\d \w+ +\[\d+ [\w.-]+\] ")

    def test_results_go_to_stdout_and_the_log_to_stderr(self):
        result = self.succeeds(self.quantize("--verbose", tokens=self.demo_tokens()))
        for line in result.err.splitlines():
            self.assertRegex(line, self.LOG)
        self.assertNotRegex(result.out, "(?m)^\\d\\d:")
        self.assertRegex(result.err, "layer done layer=3 error=.* qkv=.* seconds=")

    def test_quiet_leaves_stderr_empty(self):
        result = self.succeeds(self.quantize("--quiet", tokens=self.demo_tokens()))
        self.assertEqual(result.err, "")
        self.assertIn("model.safetensors", result.out)

    def test_quiet_keeps_errors(self):
        self.fails_with(self.quantize("--quiet", model=DEMO.parent), "has no config.json")

    def test_a_result_that_cannot_be_printed_is_an_error(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for arguments in (("version",), ("plan", "--model", DEMO, "--tokens", DEMO / "eval.h5"),
                              ("eval", "--model", DEMO, "--tokens", self.demo_tokens(1, 8))):
                with self.subTest(command=arguments[0]):
                    done = subprocess.run([AWQRUN, *arguments], stdout=full, check=False,
                                          stderr=subprocess.PIPE, text=True, timeout=60)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertIn("awqrun: error: cannot write", done.stderr)

    def test_a_name_with_control_characters_forges_no_line(self):
        result = self.quantize(model=self.folder / "no\nawqrun: error: forged\033[2J")
        self.assertEqual(len(result.errors), 1, result)
        self.assertNotIn("\033", result.err)


class Plan(Case):
    def test_plan_prints_what_would_be_done_and_writes_nothing(self):
        result = self.succeeds(run("plan", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--out",
                                   self.out, "--workers", "3", "--stage-layers", "1"))
        self.assertEqual(result.err, "")
        for word in ("model .*llama, 3.*parameters, 4 layers", "256 sequences of 512, 32 tiles",
                     "stages +4 of at most 1 layer", "stage 3 +layers 3-3 +worker 1",
                     "memory", "disk", "network", "arithmetic"):
            self.assertRegex(result.out, word)
        self.assertFalse(self.out.exists())

    def test_plan_needs_no_output_directory(self):
        self.succeeds(run("plan", "--model", DEMO, "--tokens", DEMO / "calib.h5"))

    def test_plan_refuses_what_quantize_refuses(self):
        def plan(model, *more):
            return run("plan", "--model", model, "--tokens", DEMO / "calib.h5", *more)
        self.fails_with(plan(self.configured(model_type="nemotron_h", mamba_num_heads=4)),
                        "model_type 'nemotron_h' is not supported.*mamba_num_heads")
        self.fails_with(plan(DEMO, "--out", DEMO / "awq"), "inside the source")
        self.fails_with(plan(DEMO, "--group-size", "48"), "--group-size takes", code=2)
        self.fails_with(plan(self.folder / "nowhere"), "cannot open model")

    def test_plan_refuses_a_device_too_small_and_says_what_to_lower(self):
        result = run("plan", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--device-memory",
                     "1MB")
        self.fails_with(result, "--(device-memory|tile-tokens)")

    def test_quantize_refuses_a_device_too_small_too(self):
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                result = self.quantize("--device-memory", "1MB", ranks=ranks)
                self.fails_with(result, "--(device-memory|tile-tokens)")
                self.nothing_looks_finished()


if __name__ == "__main__":
    unittest.main()
