"""Predict photos, folders, videos or a webcam with a trained network.

python tools/predict.py INPUT... --weights CKPT [--model CONFIG] [--out-dir D]

INPUT is a file, a folder, a glob pattern, a URL, a video or the number of a
webcam. Pictures go to --out-dir, numbers to --pred-out-dir.
"""

import argparse
from pathlib import Path

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.loading.checkpoint_files import TRUST


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Predict photos, folders, videos or a webcam'
    )
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT',
        help='a file, folder, glob pattern, URL, video, or number of a webcam',
    )  # fmt: skip
    parser.add_argument('--weights', help='the checkpoint')
    parser.add_argument(
        '--model',
        help='config file, or name of a model (default: the config that the '
        'checkpoint holds)',
    )
    parser.add_argument(
        '--out-dir', default='outputs',
        help='folder to save pictures in (default: outputs)',
    )  # fmt: skip
    parser.add_argument(
        '--pred-out-dir', default='',
        help='folder in --out-dir to save predictions in, as '
        'TASK/NAME.png or .npy',
    )  # fmt: skip
    parser.add_argument('--device', help='where to run (default: a GPU)')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument(
        '--opacity', type=float,
        help='share of the prediction in its picture; the rest is the photo',
    )  # fmt: skip
    parser.add_argument(
        '--max-side', type=int, default=1280,
        help='longer side of the largest prediction in pixels',
    )  # fmt: skip
    parser.add_argument('--show', action='store_true', help='open windows')
    parser.add_argument(
        '--wait-time', type=float, default=0,
        help='seconds that a window stays (default 0: until a key)',
    )  # fmt: skip
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='load a checkpoint of which only a part fits the network',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    args = parser.parse_args()
    if args.model is None and args.weights is None:
        parser.error(
            'give --weights CKPT, or --model NAME with published ones'
        )
    return args


def main() -> None:
    """Predict."""
    args = parse_args()
    infer = MultiTaskInferencer(
        args.model,
        args.weights,
        args.device,
        allow_partial=args.allow_partial,
        trust_checkpoint=args.trust_checkpoint,
        max_side=args.max_side,
    )
    # A folder that is called 0 is a folder.
    inputs = [
        int(text) if text.isdecimal() and not Path(text).exists() else text
        for text in args.inputs
    ]
    for result in infer.stream(
        inputs,
        args.batch_size,
        out_dir=args.out_dir,
        pred_out_dir=args.pred_out_dir,
        opacity=args.opacity,
        show=args.show,
        wait_time=args.wait_time,
    ):
        print(f'{result.path} -> {" ".join(result.files)}', flush=True)
    datasets = ', '.join(infer.trained_on.datasets) or 'unknown data'
    print(f'The weights were trained on {datasets}.')


if __name__ == '__main__':
    main()
