namespace FedLearn.Diagnostics;

/// <summary>Why a file of settings cannot be read, in words for the people who named it.</summary>
internal static class FileFault
{
    /// <summary>The cause, as a sentence about "it".</summary>
    /// <param name="e">What reading it gave.</param>
    public static string Of(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "there is no such file.",
        UnauthorizedAccessException => "it is no file that this user may read.",
        _ => "it cannot be read.",
    };
}
