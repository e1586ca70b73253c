"""What a video was made from, asked at any later time: also when settings and pool have changed since.

`answer` gathers what the records and the catalog say, `naming` finds the video that is meant. What does not
belong here: writing records, which is the business of the stages.
"""
