"""Make the MTAN form of Cityscapes from the official archives.

python tools/dataset_converters/cityscapes.py ROOT OUT [--size 128 256]
    [--workers N]

ROOT holds leftImg8bit, gtFine and disparity, unpacked from the archives
*_trainvaltest.zip. Go on with an interrupted run by the same command.
"""

from mmprotomtl.converters import command, convert_cityscapes


def main() -> None:
    """Convert."""
    parser = command.parser(__doc__, '128 256')
    parser.add_argument('root', help='the folder of the official ones')
    parser.add_argument('out', help='the folder to fill')
    parser.set_defaults(size=(128, 256))
    args = parser.parse_args()
    command.run(
        lambda: convert_cityscapes(
            args.root, args.out, tuple(args.size), args.workers
        )
    )
    print(f'{args.out} is complete')


if __name__ == '__main__':
    main()
