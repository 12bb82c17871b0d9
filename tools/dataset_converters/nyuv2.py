"""Make a form of NYU-Depth V2 that is trained on from the official files.

python tools/dataset_converters/nyuv2.py MAT SPLITS OUT [--form mtan|nyudv2]
    [--size 288 384] [--crop TOP BOTTOM LEFT RIGHT | --no-crop]
    [--depth depths|rawDepths] [--class-map FILE] [--class-map13 FILE]
    [--workers N]

mtan:   13 classes, depth, normals (NYUv2Dataset)
nyudv2: 40 classes, depth, normals, edges (NYUDv2Dataset)

Go on with an interrupted run by the same command.
"""

from mmprotomtl.converters import command, convert_nyuv2
from mmprotomtl.converters.nyuv2 import CROP, DEPTHS, FORMS


def main() -> None:
    """Convert."""
    parser = command.parser(__doc__, 'mtan 288 384, nyudv2 as cropped')
    parser.add_argument('mat', help='nyu_depth_v2_labeled.mat')
    parser.add_argument('splits', help='splits.mat')
    parser.add_argument('out', help='the folder to fill')
    parser.add_argument(
        '--form', choices=FORMS, default='mtan', help='default: mtan'
    )
    crop = parser.add_mutually_exclusive_group()
    crop.add_argument(
        '--crop',
        nargs=4,
        type=int,
        default=CROP,
        metavar=('TOP', 'BOTTOM', 'LEFT', 'RIGHT'),
        help='rows and columns that are kept (default: 45 471 41 601, which '
        'both cameras see)',
    )
    crop.add_argument(
        '--no-crop',
        dest='crop',
        action='store_const',
        const=None,
        help='keep the whole frame with its white border',
    )
    parser.add_argument(
        '--depth',
        choices=DEPTHS,
        default='depths',
        help='with holes filled, or as it was measured (default: depths)',
    )
    parser.add_argument(
        '--class-map', metavar='FILE', help='classMapping40.mat, if you like'
    )
    parser.add_argument(
        '--class-map13', metavar='FILE', help='class13Mapping.mat'
    )
    args = parser.parse_args()
    size = args.size or ((288, 384) if args.form == 'mtan' else None)
    command.run(
        lambda: convert_nyuv2(
            args.mat,
            args.splits,
            args.out,
            form=args.form,
            size=tuple(size) if size else None,
            crop=tuple(args.crop) if args.crop else None,
            depth=args.depth,
            class_map=args.class_map,
            class_map13=args.class_map13,
            workers=args.workers,
        )
    )
    print(f'{args.out} is complete')


if __name__ == '__main__':
    main()
