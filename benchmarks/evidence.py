"""Train and test the runs of a plan, and print its tables.

    python benchmarks/evidence.py PLAN.py [--data-root D] [--jobs 2]
        [--only PATTERN] [--list] [--table]

PLAN.py lists runs (benchmarks/evidence_plan.py says how; those of this
repository are in benchmarks/plans). Each run is tools/train.py and then
tools/test.py, one thread each, two runs side by side. What it gave goes to
benchmarks/results/evidence/PLAN/, a JSON for each run: metrics.json of
tools/test.py with the entry `run` about the run itself.

The command can be stopped and given again at any time. A run that has a result
is left out; one that was begun goes on from its last checkpoint. Results know
by a key of what run they are: after a change of an arm, of the data or of a
mask they do not count, and the run is made again. A run that fails is
reported, and does not stop the others.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evidence_plan import ROOT, Plan, Run, without_folders

from mmprotomtl.engine import latest_checkpoint, lock_run
from mmprotomtl.utils.files import write_json

RESULTS = ROOT / 'benchmarks/results/evidence'


class RunFailedError(RuntimeError):
    """A training or a test ended with an error."""


class Driver:
    """Makes the runs of a plan.

    Args:
        plan: The plan.
        work_dir: Where logs and checkpoints go.
        results: Where results go.
    """

    def __init__(self, plan: Plan, work_dir: Path, results: Path) -> None:
        self.plan = plan
        self.work_dir = work_dir / plan.name
        self.results = results / plan.name
        self.stopped = False
        self._running: set[subprocess.Popen] = set()

    def result_file(self, run: Run) -> Path:
        """Where the result of a run is, or will be."""
        return self.results / f'{run.name}.json'

    def result(self, run: Run) -> dict[str, Any] | None:
        """The result of a run; None: there is none, or it is of another."""
        try:
            report = json.loads(self.result_file(run).read_text())
        except FileNotFoundError:
            return None
        return report if report['run']['key'] == run.key else None

    def why_again(self, run: Run) -> str:
        """What has changed since the result of a run that does not count."""
        try:
            report = json.loads(self.result_file(run).read_text())
        except FileNotFoundError:
            return ''
        then, now = report['run']['settings'], run.settings
        changed = [
            f'{key}: {then.get(key)} then, {now.get(key)} now'
            for key in dict.fromkeys([*then, *now])
            if then.get(key) != now.get(key)
        ]
        return f' again, because of {"; ".join(changed[:3])[:400]}'

    def make_all(self, runs: Iterable[Run], jobs: int) -> list[str]:
        """Make the runs that have no result, several at a time.

        Returns:
            The failures, each as text.
        """
        missing = [run for run in runs if self.result(run) is None]
        with ThreadPoolExecutor(jobs) as pool:
            return [text for text in pool.map(self._try, missing) if text]

    def _try(self, run: Run) -> str | None:
        """Make a run; returns what is wrong, None: nothing."""
        if self.stopped:
            return None
        say(f'{run.name}: begun{self.why_again(run)}')
        try:
            report = self.make(run)
        except Exception as error:
            if self.stopped:
                return None
            say(f'{run.name}: FAILED: {error}')
            return f'{run.name}: {error}'
        scores = {
            f'{name}/{task["metric"]}'
            for name, task in report['tasks'].items()
        }
        shown = [f'{key} {report["metrics"][key]}' for key in sorted(scores)]
        seconds = report['run']['seconds']['train']
        say(f'{run.name}: {", ".join(shown)} after {seconds:.0f} s')
        return None

    def make(self, run: Run) -> dict[str, Any]:
        """Train and test a run, and write its result.

        Raises:
            RunFailedError: A command failed; the message has the end of what
                it wrote.
        """
        home = self.work_dir / f'{run.name}-{run.key}'
        home.mkdir(parents=True, exist_ok=True)
        # compare.py names a method after the file of its config.
        config = home / f'{run.arm}.py'
        run.config.dump(config)
        train = [ROOT / 'tools/train.py', config, '--work-dir', home]
        self._call([*train, '--resume'], home, 'train')
        checkpoint = latest_checkpoint(home)
        test = [ROOT / 'tools/test.py', config, checkpoint]
        tested = home / 'test'
        self._call([*test, '--work-dir', tested], home, 'test')
        (file,) = tested.rglob('metrics.json')
        report = json.loads(file.read_text())
        if report['selection'].get('checkpoint') != 'last':
            raise RunFailedError(f'{checkpoint} is not of the last epoch')
        report['run'] = dict(
            key=run.key,
            plan=self.plan.name,
            arm=run.arm,
            labels=run.labels,
            seed=run.seed,
            part=run.part,
            options=self.plan.arm_options(run.arm),
            **self.plan.size(run.arm),
            seconds=json.loads((home / 'seconds.json').read_text()),
            code=code_version(),
            curve=curve(home, report['metrics']),
            settings=run.settings,
        )
        folders = {'{data_root}': self.plan.root, '{work_dir}': str(home)}
        report = without_folders(report, folders)
        write_json(self.result_file(run), report)
        return report

    def _call(self, command: list[Any], home: Path, what: str) -> None:
        """Run one of our tools; notes its time in ``seconds.json``."""
        path = [str(ROOT), os.environ.get('PYTHONPATH', '')]
        env = dict(
            os.environ,
            OMP_NUM_THREADS='1',
            PYTHONPATH=os.pathsep.join(filter(None, path)),
        )
        log, begin = home / f'{what}.log', time.time()
        with log.open('w') as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=ROOT,
                env=env,
                stdout=file,
                stderr=subprocess.STDOUT,
                # An interrupt from the keyboard goes to the driver alone.
                start_new_session=True,
            )
            self._running.add(process)
            if self.stopped:
                process.terminate()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self._running.discard(process)
        file = home / 'seconds.json'
        known = json.loads(file.read_text()) if file.exists() else {}
        cpu = used.ru_utime + used.ru_stime
        for key, seconds in (
            (what, time.time() - begin),
            (f'{what} (processor)', cpu),
        ):
            # A run that was stopped took the time of all its pieces.
            known[key] = round(seconds + known.get(key, 0), 1)
        write_json(file, known)
        if process.returncode:
            last = '\n'.join(log.read_text().splitlines()[-8:])
            raise RunFailedError(f'{log} ends with\n{last}')

    def stop(self, *_: object) -> None:
        """End what runs; begin nothing more."""
        self.stopped = True
        for process in [*self._running]:
            process.terminate()


def curve(home: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Step and scores of each validation in the logs of a run.

    Args:
        home: Its folder.
        names: The scores; logs of training have other numbers.
    """
    seen = {}
    for file in sorted(home.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            scores = {name: entry[name] for name in names if name in entry}
            if scores:
                seen[entry['step']] = dict(step=entry['step'], scores=scores)
    return [seen[step] for step in sorted(seen)]


def code_version() -> dict[str, Any]:
    """The commit, and whether files of the program differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ['git', *words], cwd=ROOT, capture_output=True, text=True
        )
        return done.stdout.strip()

    changed = git('status', '--porcelain', '--', 'mmprotomtl', 'configs')
    return dict(commit=git('rev-parse', 'HEAD') or None, changed=bool(changed))


def say(text: str) -> None:
    """Tell the user, with the time."""
    print(f'{time.strftime("%m-%d %H:%M:%S")} {text}', flush=True)


def print_tables(driver: Driver, runs: list[Run]) -> None:
    """The tables of the plan, of all runs that have a result."""
    for table in driver.plan.said['tables']:
        wanted = [
            run
            for run in runs
            if run.part == table['part'] and run.labels in table['labels']
            and driver.result(run) is not None
        ]  # fmt: skip
        files: dict[str, list[str]] = {}
        for run in wanted:
            files.setdefault(run.arm, []).append(str(driver.result_file(run)))
        print(f'\n{", ".join(table["labels"])}; {table["part"]}\n', flush=True)
        reference = [
            file
            for arm in table.get('reference', ())
            for file in files.pop(arm, [])
        ]
        if not files:
            print('no result yet')
            continue
        command = [
            sys.executable, str(ROOT / 'tools/analysis_tools/compare.py'),
            *(file for arm in files.values() for file in arm),
        ]  # fmt: skip
        if reference:
            command += ['--reference', *reference]
        against = [arm for arm in table.get('against', ()) if arm in files]
        if against:
            command += ['--against', *against, '--common']
        subprocess.run(command, check=True)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add('plan', help='the Python file of the plan')
    add('--data-root', help="the data; default: the plan's")
    add('--work-dir', type=Path, default=ROOT / 'work_dirs/evidence')
    add('--results', type=Path, default=RESULTS)
    add('--jobs', type=int, default=2, help='runs side by side')
    add('--only', default='', help='pattern of names of runs')
    add('--list', action='store_true', help='list the runs, make none')
    add('--table', action='store_true', help='print tables, make no run')
    return parser.parse_args()


def main() -> None:
    """Make what is missing; list; print tables."""
    args = parse_args()
    plan = Plan(args.plan, args.data_root, args.work_dir.resolve())
    driver = Driver(plan, args.work_dir.resolve(), args.results)
    if not Path(plan.root).exists() and 'prepare' in plan.said:
        raise SystemExit(f'{plan.root} is missing:\n{plan.said["prepare"]}')
    runs = [*plan.runs(args.only)]
    done = sum(driver.result(run) is not None for run in runs)
    if args.list:
        for run in runs:
            state = '-' if driver.result(run) is None else 'done'
            print(f'{state:5}{run.name} {run.key}')
    if args.table:
        print_tables(driver, runs)
    say(f'{done} of {len(runs)} runs have a result')
    if args.list or args.table:
        return
    with lock_run(driver.work_dir):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, driver.stop)
        failures = driver.make_all(runs, args.jobs)
    if driver.stopped:
        raise SystemExit('stopped; the same command goes on')
    print_tables(driver, runs)
    if failures:
        raise SystemExit(
            f'{len(failures)} runs failed:\n' + '\n'.join(failures)
        )


if __name__ == '__main__':
    main()
