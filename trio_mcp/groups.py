"""What is inside the exception groups that nurseries make, for who asks what happened and not how it was wrapped."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside a group, however deep; of an error that is no group, the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]
