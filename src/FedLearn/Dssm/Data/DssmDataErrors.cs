namespace FedLearn.Dssm;

/// <summary>Errors of the tables of recommendation jobs; each has a page under docs/errors. Faults that every kind of table has are in <see cref="Data.DataErrors"/>.</summary>
public static class DssmDataErrors
{
    /// <summary>A schema of items stands where one of a view is needed, or the other way round.</summary>
    public const string OtherSchema = "FL2440";

    /// <summary>Settings of the generator are out of their range.</summary>
    public const string InvalidTastes = "FL2441";

    /// <summary>A cell of a bag is no list of ids.</summary>
    public const string MalformedBag = "FL3130";

    /// <summary>An id of a bag is outside its buckets.</summary>
    public const string BagIdOutOfRange = "FL3131";

    /// <summary>Two rows of a view are of one user and moment.</summary>
    public const string RepeatedMoment = "FL3132";

    /// <summary>A time or sequence is no whole number of its range.</summary>
    public const string MalformedMoment = "FL3133";

    /// <summary>An event names an item that the table of items lacks.</summary>
    public const string UnknownItem = "FL3134";

    /// <summary>A role is none of the known ones.</summary>
    public const string UnknownRole = "FL3135";

    /// <summary>An event of a new user or item is of one that is trained on.</summary>
    public const string RoleContradiction = "FL3139";

    /// <summary>A file of a data set is missing.</summary>
    public const string SourceMissing = "FL3136";

    /// <summary>A line of a data set's file is not as its format wants it.</summary>
    public const string SourceMalformed = "FL3137";

    /// <summary>The files of a data set do not fit together.</summary>
    public const string SourceInconsistent = "FL3138";
}
