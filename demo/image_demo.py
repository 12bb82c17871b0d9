"""Predict one image, with the arguments of mmseg's demo.

    python demo/image_demo.py IMAGE CONFIG CKPT [--out-file FILE] [--show]

``mmprotomtl predict`` does more: folders, several images, numbers.
"""

import argparse

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.visualization import write_picture


def main() -> None:
    """Predict and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('img', help='image file or URL')
    parser.add_argument('config', help='config file, or name of a model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-file', help='where to save the picture')
    parser.add_argument('--device', help='where to run (default: a GPU)')
    parser.add_argument('--opacity', type=float)
    parser.add_argument('--show', action='store_true', help='open a window')
    args = parser.parse_args()
    if not (args.out_file or args.show):
        parser.error('give --out-file FILE or --show')
    infer = MultiTaskInferencer(args.config, args.checkpoint, args.device)
    done = infer(args.img, opacity=args.opacity, show=args.show)
    if args.out_file:
        write_picture(args.out_file, done['visualization'][0])
    print(done['predictions'][0])


if __name__ == '__main__':
    main()
