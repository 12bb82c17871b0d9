"""Predict a video or a webcam, with the arguments of mmseg's demo.

    python demo/video_demo.py VIDEO CONFIG CKPT [--output-file FILE] [--show]

Frames are read, predicted and written one by one.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmprotomtl.apis import MultiTaskInferencer


def main() -> None:
    """Predict and draw frame by frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', help='video file, or number of a webcam')
    parser.add_argument('config', help='config file, or name of a model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--output-file', help='video to write')
    parser.add_argument('--output-fourcc', default='MJPG', help='its codec')
    parser.add_argument('--output-fps', type=float, default=15)
    parser.add_argument('--device', help='where to run (default: a GPU)')
    parser.add_argument('--opacity', type=float)
    parser.add_argument('--show', action='store_true', help='open a window')
    parser.add_argument('--wait-time', type=float, default=0.001)
    parser.add_argument(
        '--max-side', type=int, default=640, help='longer side of a frame'
    )
    args = parser.parse_args()
    if not (args.output_file or args.show):
        parser.error('give --output-file FILE or --show')
    infer = MultiTaskInferencer(
        args.config, args.checkpoint, args.device, max_side=args.max_side
    )
    # Keys of colours are as high as there are classes in a frame, and all
    # frames of a video have one size.
    infer.visualizer.legends = False
    is_index = args.video.isdecimal() and not Path(args.video).exists()
    source = int(args.video) if is_index else args.video
    writer, number = None, 0
    for result in infer.stream(
        source, opacity=args.opacity, show=args.show, wait_time=args.wait_time
    ):
        picture = np.ascontiguousarray(result.picture[..., ::-1])
        if args.output_file and writer is None:
            code = cv2.VideoWriter_fourcc(*args.output_fourcc)
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(
                args.output_file, code, args.output_fps, size
            )
            if not writer.isOpened():
                raise SystemExit(
                    f'{args.output_file}: cannot be written with '
                    f'--output-fourcc {args.output_fourcc}; .avi goes with '
                    'MJPG, .mp4 with mp4v'
                )
        if writer is not None:
            writer.write(picture)
        number += 1
    if writer is not None:
        writer.release()
    print(f'{number} frames')


if __name__ == '__main__':
    main()
